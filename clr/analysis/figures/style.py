"""Common look of all figures: matplotlib settings, colors, line styles, and reproducible files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib import style as matplotlib_style
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from clr.files import atomic_write

Look = dict[str, Any]  # keyword arguments of Axes.plot

# Okabe and Ito's colors, distinguishable for color-blind readers; line styles for gray print.
LOOKS: dict[str, Look] = {
    "clr": {"color": "#0072B2", "linestyle": "-"},
    "sgd": {"color": "#D55E00", "linestyle": (0, (4, 1.5))},
}
OTHERS: list[Look] = [
    {"color": "#009E73", "linestyle": "-."},
    {"color": "#CC79A7", "linestyle": (0, (1, 1))},
    {"color": "#56B4E9", "linestyle": (0, (6, 1.5, 1, 1.5, 1, 1.5))},
]
# CLR's blue from dark to light, for curves that differ in batch size.
SHADES = LinearSegmentedColormap.from_list("clr", ["#00253F", "#0072B2", "#7CC8F2"])
LINE_STYLES: list[Any] = ["-", (0, (4, 1.5)), "-.", (0, (1, 1)), (0, (6, 1.5, 1, 1.5, 1, 1.5))]
INK, QUIET, WARNING = "#222222", "#555555", "#A00000"

RC: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.framealpha": 0.85,  # curves behind a legend stay visible
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "legend.handlelength": 2.2,
    "legend.labelspacing": 0.3,
    "figure.titlesize": 9,
    "text.color": INK,
    "text.parse_math": False,  # names of datasets and optimizers may contain dollar signs
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "lines.linewidth": 1.5,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType, so that text can be selected and searched
    "svg.hashsalt": "clr",  # reproducible ids
}


@contextmanager
def applied() -> Iterator[None]:
    """Use `RC` on top of matplotlib's defaults; a user's own matplotlibrc has no effect."""
    with matplotlib_style.context(RC, after_reset=True):
        yield


def looks(runs: pd.DataFrame) -> dict[str, Look]:
    """Look of each optimizer among `runs`, the same in all panels of a figure."""
    others = sorted(set(runs["optimizer"]) - set(LOOKS))
    return LOOKS | {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(others)}


def shades(n: int) -> list[Look]:
    """Looks of CLR's curves at `n` batch sizes, in drawing order: the dark, solid line first.

    Lines drawn later are lighter and dashed and do not hide it. A single curve looks like CLR in
    the other figures.
    """
    if n == 1:
        return [LOOKS["clr"]]
    styles = [LINE_STYLES[i % len(LINE_STYLES)] for i in range(n)]
    return [{"color": SHADES(i / (n - 1)), "linestyle": style} for i, style in enumerate(styles)]


def gray(i: int, n: int) -> str:
    """Gray of the i-th of `n` learning rates: light for the smallest, dark for the largest."""
    return str(round(0.80 - 0.30 * i / max(n - 1, 1), 3))


def save(figure: Figure, path: Path) -> list[Path]:
    """Write `path`.png, .pdf and .svg, without dates or versions: equal tables give equal files.

    The PNG contains its title and caption as text, which the report reads. A character that the
    font lacks is drawn as a box.
    """
    text = {"Title": figure.get_suptitle(), "Description": str(figure.get_label())}
    metadata: dict[str, dict[str, str | None]] = {
        "png": {"Software": None, **text},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "svg": {"Date": None, "Creator": None},
    }
    # The panels' tags would become ids in the SVG, where an id must be unique.
    for artist in figure.findobj(lambda artist: artist.get_gid() is not None):
        artist.set_gid(None)
    paths = []
    with warnings.catch_warnings(), applied(), rc_context({"figure.constrained_layout.use": False}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # Lay out once, because the layout engine would repeat it for each file.
        figure.draw_without_rendering()
        figure.set_layout_engine(None)
        for kind, fields in metadata.items():
            paths.append(path.with_suffix(f".{kind}"))
            with atomic_write(paths[-1]) as file:
                figure.savefig(file, format=kind, metadata=fields)
    return paths
