"""Figures in the report: picture files, interactive panels, and figures that are missing."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from clr.analysis.figures import style
from clr.analysis.figures.availability import owners_of_absent
from clr.analysis.figures.draw import DRAW, draw_figure
from clr.analysis.names import figure_file, figure_name, figure_order
from clr.analysis.report.interactive import Panel, panels
from clr.analysis.tables import Tables, complete_command
from clr.errors import UserError


@dataclass(frozen=True)
class Picture:
    """A figure in the report."""

    name: str  # of its file, such as figure2
    number: str  # display name, such as "Figure 2"
    title: str = ""
    caption: list[str] = field(default_factory=list)  # paragraphs
    image: str = ""  # data URI; empty if the figure has no runs
    width: int = 0  # pixels
    height: int = 0
    panels: list[Panel] = field(default_factory=list)
    missing_command: str = ""  # trains the missing runs; empty if there are none


def read_pictures(folder: Path, figures: dict[str, Tables]) -> list[Picture]:
    """Read all figures of a protocol's results, in the order of the paper.

    Args:
        folder: results of one protocol; every PNG file in its folder `figures` is included.
        figures: tables of the figures that figure_runs.csv names.

    Raises:
        UserError: if the picture of a figure that has runs is missing, or if a picture is damaged.
    """
    files = {path.stem: path for path in (folder / "figures").glob("*.png")}
    keys = {figure_file(figure): figure for figure in figures}
    pictures = []
    for name in sorted(files.keys() | keys.keys(), key=figure_order):
        if name in keys:
            pictures.append(_drawn(folder, keys[name], figures[keys[name]]))
        else:
            pictures.append(_read(folder, files[name]))
    return pictures


def read_comparison(folder: Path) -> Picture | None:
    """The figure of scripts/compare.py, None if it has not been run."""
    path = folder / "comparison" / "curves.png"
    return _read(folder, path, name="comparison") if path.is_file() else None


def absent_figures(folder: Path, present: Collection[str]) -> list[tuple[str, str, list[str]]]:
    """Figures that the results lack, such as "Figures 3, 5": a protocol with them, and others."""
    groups = owners_of_absent(folder.resolve().name, present)
    return [(list_figures(figures), first, others) for figures, first, others in groups]


def list_figures(figures: list[str]) -> str:
    """Names of several figures, such as "Figures 4, 6, Corridor meter"."""
    numbers = [figure for figure in figures if figure.isdigit()]
    names = [figure_name(figure) for figure in figures if not figure.isdigit()]
    if numbers:
        names.insert(0, f"Figure{'s' * (len(numbers) > 1)} {', '.join(numbers)}")
    return ", ".join(names)


def _drawn(folder: Path, figure: str, tables: Tables) -> Picture:
    """A figure of runs, with interactive panels."""
    name = figure_file(figure)
    command = complete_command(folder) if tables.missing else ""
    if tables.runs.empty:
        caption = [f"None of its {tables.planned} runs is completed."]
        return Picture(name, figure_name(figure), caption=caption, missing_command=command)
    if figure not in DRAW:
        raise UserError(
            f"{folder / 'figure_runs.csv'} names the unknown figure {figure}; "
            f"the known ones are {', '.join(DRAW)}"
        )
    path = folder / "figures" / f"{name}.png"
    with style.applied():  # as in scripts/figures.py
        drawn = panels(draw_figure(folder, figure, tables), name)
    return _read(folder, path, drawn=drawn, command=command)


def _read(
    folder: Path, path: Path, name: str = "", drawn: list[Panel] | None = None, command: str = ""
) -> Picture:
    """A picture file, with the title and the caption that `style.save` wrote into it."""
    make = f"make figures PROTOCOL={folder.resolve().name}"
    if not path.is_file():
        raise UserError(f"{path} is missing; create it with: {make}")
    try:
        with Image.open(path) as image:
            text = {key: str(value) for key, value in getattr(image, "text", {}).items()}
            buffer = io.BytesIO()
            # Lossless WebP has a third of the PNG's size and the same pixels.
            image.convert("RGB").save(buffer, "WEBP", lossless=True)
            width, height = image.size
    except (OSError, ValueError, SyntaxError):
        raise UserError(f"{path} is not a readable picture; create it again with: {make}") from None
    name = name or path.stem
    return Picture(
        name,
        figure_name(name),
        title=" ".join(text.get("Title", "").split()),
        caption=[part for part in text.get("Description", "").split("\n") if part],
        image="data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(),
        width=width,
        height=height,
        panels=drawn or [],
        missing_command=command,
    )
