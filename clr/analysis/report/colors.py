"""Colors of curves on the report's dark background."""

from __future__ import annotations

import colorsys

import numpy as np
from matplotlib.colors import to_hex, to_rgb

DARK_BACKGROUND = "#15181b"  # --paper of the dark scheme in templates/report.css
MIN_CONTRAST = 3  # WCAG's minimum for graphics


def on_dark(color: str) -> str:
    """Color that replaces `color` on a dark background.

    The lightness of a color with too little contrast is inverted. Grays, which are the other rates
    of a sweep, become dimmer and keep their order, so that they stay behind the colored curves.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    if contrast(color, DARK_BACKGROUND) < MIN_CONTRAST:
        return to_hex(colorsys.hls_to_rgb(hue, 1 - lightness, saturation))
    return to_hex((0.15 + lightness / 2,) * 3) if saturation == 0 else color


def contrast(a: str, b: str) -> float:
    """Contrast of two colors by WCAG 2, from 1 to 21."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
