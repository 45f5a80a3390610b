"""Picture files of a results folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from clr.analysis import tables
from clr.analysis.figures import figure1, figure1_paths, style
from clr.analysis.figures.availability import missing_lines
from clr.analysis.figures.draw import DRAW, FURTHER, draw_picture
from clr.analysis.names import figure_file
from clr.errors import UserError, first_line

# Figures of formulas, which need no runs. Only this module imports them, because they need torch.
WITHOUT_RUNS: dict[str, Callable[[], Figure]] = {
    "figure1": figure1.draw,
    "figure1_paths": figure1_paths.draw,
}


def draw_all(folder: Path) -> tuple[list[Path], list[str]]:
    """Draw Figure 1 and every figure that has runs into `folder`/figures.

    Returns:
        The files, and one line for each figure that lacks runs.

    Raises:
        UserError: if a table is missing or damaged, or if it names an unknown figure.
    """
    figures = tables.read(folder)
    unknown = sorted(set(figures) - set(DRAW))
    if unknown:
        raise UserError(
            f"{folder / 'figure_runs.csv'} names the unknown figure {unknown[0]}; "
            f"the known ones are {', '.join(DRAW)}"
        )
    target = folder / "figures"
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {target}: {first_line(error)}") from None
    paths = []
    with style.applied():
        for name, draw_alone in WITHOUT_RUNS.items():
            paths += style.save(draw_alone(), target / name)
        for figure, own in figures.items():
            if own.runs.empty:
                continue
            pictures = {figure_file(figure): DRAW[figure], **FURTHER.get(figure, {})}
            for name, draw in pictures.items():
                paths += style.save(draw_picture(folder, figure, draw, own), target / name)
    return paths, missing_lines(folder, figures)
