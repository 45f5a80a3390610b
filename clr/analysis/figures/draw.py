"""The function that draws each figure of runs from its tables."""

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
    figure2,
    figure3,
    figure4,
    figure6,
    figure9,
    race,
)
from clr.errors import UserError

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


def draw_figure(folder: Path, figure: str, own: tables.Tables) -> Figure:
    """Draw one figure of `folder`. A UserError about its runs names the folder and the figure."""
    return draw_picture(folder, figure, DRAW[figure], own)


def draw_picture(
    folder: Path, figure: str, draw: Callable[[tables.Tables], Figure], own: tables.Tables
) -> Figure:
    """Draw a picture of the runs of one figure, by its function in `DRAW` or `FURTHER`."""
    try:
        return draw(own)
    except UserError as error:
        raise UserError(f"{folder}, figure {figure}: {error}") from None
