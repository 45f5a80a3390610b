"""Figures of a results folder: the function that draws each, and the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from clr.analysis import tables
from clr.analysis.figures import (
    arena,
    arena_profiles,
    arena_race,
    arena_sensitivity,
    cells,
    corridor_meter,
    figure1,
    figure1_paths,
    figure2,
    figure3,
    figure4,
    figure6,
    figure9,
    race,
    style,
)
from clr.analysis.figures.availability import missing_lines
from clr.analysis.names import figure_file
from clr.errors import UserError, first_line

# Figures of formulas, which need no runs.
WITHOUT_RUNS: dict[str, Callable[[], Figure]] = {
    "figure1": figure1.draw,
    "figure1_paths": figure1_paths.draw,
}
# Figures 5, 7 and 8 repeat 3, 2 and 6 with another model or other data.
DRAW: dict[str, Callable[[tables.Tables], Figure]] = {
    "2": figure2.draw,
    "3": figure3.draw,
    "4": figure4.draw,
    "5": figure3.draw,
    "6": figure6.draw,
    "7": figure2.draw,
    "8": figure6.draw,
    "9": figure9.draw,
    "arena": arena.draw,
    "cells": cells.draw,
    "corridor_meter": corridor_meter.draw,
    "race": race.draw,
}
# Further pictures of the runs of a figure, by the stem of their files.
FURTHER: dict[str, dict[str, Callable[[tables.Tables], Figure]]] = {
    "arena": {
        "arena_time": arena.draw_time,
        "arena_race": arena_race.draw,
        "arena_profiles": arena_profiles.draw,
        "arena_sensitivity": arena_sensitivity.draw,
    }
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
                paths += style.save(_draw(folder, figure, draw, own), target / name)
    return paths, missing_lines(folder, figures)


def draw_figure(folder: Path, figure: str, own: tables.Tables) -> Figure:
    """Draw one figure of `folder`. A UserError about its runs names the folder and the figure."""
    return _draw(folder, figure, DRAW[figure], own)


def _draw(
    folder: Path, figure: str, draw: Callable[[tables.Tables], Figure], own: tables.Tables
) -> Figure:
    try:
        return draw(own)
    except UserError as error:
        raise UserError(f"{folder}, figure {figure}: {error}") from None
