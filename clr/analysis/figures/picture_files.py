"""Picture files of a results folder."""

from __future__ import annotations

import gc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from clr.analysis import tables
from clr.analysis.figures import style
from clr.analysis.figures.availability import missing_lines
from clr.analysis.figures.draw import DRAW, FURTHER, draw_picture
from clr.analysis.names import figure_file
from clr.errors import UserError, first_line


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
    # A second process draws Figure 1, whose formulas need torch, in about the time of the others.
    pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=gc.disable)
    with pool, style.applied():
        formulas = pool.submit(_draw_formulas, target)
        for figure, own in figures.items():
            if own.runs.empty:
                continue
            pictures = {figure_file(figure): DRAW[figure], **FURTHER.get(figure, {})}
            for name, draw in pictures.items():
                paths += style.save(draw_picture(folder, figure, draw, own), target / name)
        return formulas.result() + paths, missing_lines(folder, figures)


def _draw_formulas(target: Path) -> list[Path]:
    """Draw the pictures that need no runs into the folder `target`; returns their files."""
    from clr.analysis.figures import figure1, figure1_paths

    with style.applied():
        files = style.save(figure1.draw(), target / "figure1")
        return files + style.save(figure1_paths.draw(), target / "figure1_paths")
