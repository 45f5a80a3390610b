"""Conversion of images of any pixel format to 8-bit RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Formats in which a pixel of 16 bits is an unsigned integer from black to white. Pillow's PNG, PPM
# and JPEG 2000 decoders scale other depths to 16 bits; those of TIFF are in its tags.
SIXTEEN_BIT_FORMATS = ("PNG", "PPM", "JPEG2000", "TIFF")
# Formats whose images of mode "I" have the range of 16 bits.
WIDENED_FORMATS = ("PNG", "PPM")
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of TIFF
WHITE_IS_ZERO = 0  # value of PHOTOMETRIC


class Unreadable(Exception):
    """The original is not an image, is damaged or has no defined colors; the message says why."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB with 8 bits per channel.

    Palettes, CMYK, YCbCr, HSV, LAB and bilevel images are converted by Pillow, gray becomes three
    equal channels, alpha and transparent colors are dropped. Pillow cuts off gray values above 255
    instead of scaling them, so grayscale with more than 8 bits is scaled here:

    - unsigned integers of up to 16 bits: from their full range, 0 to 2^bits - 1;
    - floating point: from [0, 1].

    Raises:
        Unreadable: floating-point values outside of [0, 1] or NaN, integers that are signed or have
            32 bits. No value of these is known to be white.
    """
    if image.mode.startswith("I;16") or image.mode == "I":
        gray = _integer_gray(image)
    elif image.mode == "F":
        gray = _float_gray(image)
    else:
        return image.convert("RGB")
    return Image.fromarray(gray).convert("RGB")


def _integer_gray(image: Image.Image) -> np.ndarray:
    """Gray values (H, W) in uint8 of an image with unsigned integers of up to 16 bits."""
    if image.mode == "I" and image.format not in WIDENED_FORMATS:
        raise Unreadable(
            "32-bit or signed integer pixels: the value of white is unknown; "
            "store 8 or 16 bits unsigned"
        )
    if image.format not in SIXTEEN_BIT_FORMATS:
        raise Unreadable(
            f"16-bit pixels in a {image.format} file: the value of white is unknown; store PNG"
        )
    white = (1 << _tiff_tag(image, BITS_PER_SAMPLE, 16)) - 1
    values = np.asarray(image).astype(np.int64)
    gray = ((values * 255 + white // 2) // white).clip(0, 255).astype(np.uint8)  # rounded
    return _black_is_zero(image, gray)


def _float_gray(image: Image.Image) -> np.ndarray:
    """Gray values (H, W) in uint8 of an image with floating-point pixels in [0, 1]."""
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # also if NaN
        raise Unreadable(
            f"floating-point pixels from {low:g} to {high:g}: the value of white is unknown; "
            "scale them to [0, 1]"
        )
    return _black_is_zero(image, np.rint(values * 255).astype(np.uint8))


def _black_is_zero(image: Image.Image, gray: np.ndarray) -> np.ndarray:
    """Invert `gray` if zero is white in the TIFF; Pillow does that for up to 8 bits only."""
    return 255 - gray if _tiff_tag(image, PHOTOMETRIC, 1) == WHITE_IS_ZERO else gray


def _tiff_tag(image: Image.Image, tag: int, default: int) -> int:
    """Value of an integer tag of a TIFF file; `default` if it is missing or in other formats."""
    if image.format != "TIFF":
        return default
    value = image.tag_v2.get(tag, default)  # type: ignore[attr-defined]
    return int(value[0] if isinstance(value, tuple) else value)
