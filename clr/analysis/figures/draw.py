"""All figures of a folder of results: which function draws which, and the files that they become."""

from __future__ import annotations

from pathlib import Path

from matplotlib import style as matplotlib_style

from clr.analysis import tables
from clr.analysis.figures import (
    corridor_meter,
    figure1,
    figure1_paths,
    figure2,
    figure3,
    figure4,
    figure6,
    figure9,
    missing,
    style,
)
from clr.errors import UserError

# Of formulas, not of runs: drawn for every protocol.
ALWAYS = {"figure1": figure1.draw, "figure1_paths": figure1_paths.draw}
# Figure 5 is drawn as Figure 3, 7 as 2, and 8 as 6: the model or the data is another.
DRAW = {
    "2": figure2.draw,
    "3": figure3.draw,
    "4": figure4.draw,
    "5": figure3.draw,
    "6": figure6.draw,
    "7": figure2.draw,
    "8": figure6.draw,
    "9": figure9.draw,
    "corridor_meter": corridor_meter.draw,
}


def draw_all(folder: Path) -> tuple[list[Path], list[str]]:
    """Draw Figure 1 and every figure that has runs; the pictures made, and a line for each that lacks runs."""
    figures = tables.read(folder)
    unknown = sorted(set(figures) - set(DRAW))
    if unknown:
        raise UserError(
            f"{folder / 'figure_runs.csv'} names figure {unknown[0]}, only {', '.join(DRAW)} can be drawn"
        )
    (folder / "figures").mkdir(exist_ok=True)
    paths = []
    # After a reset: a user's own matplotlibrc must not change the pictures.
    with matplotlib_style.context(style.RC, after_reset=True):
        for name, draw in ALWAYS.items():
            paths += style.save(draw(), folder / "figures" / name)
        for name, of_figure in figures.items():
            if of_figure.runs.empty:
                continue
            file = f"figure{name}" if name.isdigit() else name
            paths += style.save(DRAW[name](of_figure), folder / "figures" / file)
    return paths, missing.lines(folder, figures)
