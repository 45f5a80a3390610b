"""The figures of a protocol: those in its folder and those that its runs were made for, in the paper's order."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from matplotlib import style as matplotlib_style
from matplotlib.figure import Figure
from PIL import Image

from clr.analysis import tables
from clr.analysis.figures import style
from clr.analysis.report.interactive import Panel, panels
from clr.config import CONFIGS
from clr.errors import UserError

Draw = Mapping[Any, Callable[[tables.Tables], Figure]]  # by the figure's name in figure_runs.csv


@dataclass(frozen=True)
class Picture:
    """A figure in the report."""

    name: str  # its file's, such as figure2 or meter
    number: str  # Figure 2
    title: str
    caption: list[str]  # paragraphs
    image: str  # a data URI; empty if no run of it was made
    width: int  # pixels
    height: int
    panels: list[Panel]
    remedy: str  # the command that makes its missing runs, if any are missing


def pictures(folder: Path, draw: Draw) -> list[Picture]:
    """All figures of a protocol's results; `draw` makes those that are drawn from runs."""
    found = {path.stem: path for path in (folder / "figures").glob("*.png")}
    of_runs = {_name(number): (number, drawn) for number, drawn in tables.read(folder).items()}
    return [
        _of_runs(name, found.get(name), *of_runs[name], folder, draw)
        if name in of_runs
        else _static(name, found[name])
        for name in sorted(found.keys() | of_runs.keys(), key=_order)
    ]


def comparison(folder: Path) -> Picture | None:
    """The curves over those of other results, if scripts/compare.py was called."""
    path = folder / "comparison" / "curves.png"
    return _static("comparison", path) if path.is_file() else None


def elsewhere(folder: Path) -> list[tuple[str, str, list[str]]]:
    """The figures that these results don't have, by their numbers: a protocol that makes them, and the other ones.

    Their own protocol comes first.
    """
    named = set(pd.read_csv(folder / "figure_runs.csv", dtype=str)["figure"])
    protocols = {
        path.stem: yaml.safe_load(path.read_text())
        for path in (CONFIGS / "protocol").glob("*.yaml")
    }
    known = yaml.safe_load((CONFIGS / "sweep.yaml").read_text())["figures"]
    by_protocols: dict[tuple[str, ...], list[str]] = {}
    for figure in sorted(set(map(str, known)) - named, key=lambda figure: _order(_name(figure))):
        having = sorted(name for name, of in protocols.items() if figure in map(str, of["figures"]))
        if having:
            having.sort(key=lambda name: name != folder.resolve().name)
            by_protocols.setdefault(tuple(having), []).append(figure)
    return [(_list(figures), first, others) for (first, *others), figures in by_protocols.items()]


def _of_runs(
    name: str, path: Path | None, number: Any, of: tables.Tables, folder: Path, draw: Draw
) -> Picture:
    remedy = tables.make_missing(folder) if len(of.runs) < of.named else ""
    if of.runs.empty:
        caption = [f"None of its {of.named} runs has been made yet."]
        return Picture(name, _heading(name), "", caption, "", 0, 0, [], remedy)
    if path is None:
        missing = folder / "figures" / f"{name}.png"
        raise UserError(
            f"{missing} is missing; make it with: make figures PROTOCOL={folder.resolve().name}"
        )
    with matplotlib_style.context(style.RC, after_reset=True):  # as scripts/figures.py draws it
        drawn = panels(draw[number](of), name)
    return Picture(*_file(name, path), drawn, remedy)


def _static(name: str, path: Path) -> Picture:
    return Picture(*_file(name, path), [], "")


def _file(name: str, path: Path) -> tuple[str, str, str, list[str], str, int, int]:
    """A picture's first fields, from its file: title and caption are those that style.save wrote into it."""
    with Image.open(path) as image:
        words = {key: str(text) for key, text in getattr(image, "text", {}).items()}
        buffer = io.BytesIO()
        image.convert("RGB").save(
            buffer, "WEBP", lossless=True
        )  # a third of the PNG, to the pixel the same
        size = image.size
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    title, caption = (
        " ".join(words.get("Title", "").split()),
        words.get("Description", "").split("\n"),
    )
    return name, _heading(name), title, [part for part in caption if part], uri, *size


def _name(figure: int | str) -> str:
    """The name of a figure's file."""
    return f"figure{figure}" if str(figure).isdigit() else str(figure)


def _order(name: str) -> tuple[float, str]:
    """Figures by number, then those that have none by name."""
    number = re.match(r"figure(\d+)", name)
    return (int(number[1]), name) if number else (float("inf"), name)


def _heading(name: str) -> str:
    """figure1_paths is "Figure 1, paths"."""
    number = re.fullmatch(r"figure(\d+)(?:_(\w+))?", name)
    if number is None:
        return name.replace("_", " ").capitalize()
    return f"Figure {number[1]}" + (f", {number[2].replace('_', ' ')}" if number[2] else "")


def _list(figures: list[str]) -> str:
    """Figures 4, 6, Corridor meter"""
    numbers = [figure for figure in figures if figure.isdigit()]
    others = [_heading(figure) for figure in figures if not figure.isdigit()]
    return ", ".join(
        [f"Figure{'s' * (len(numbers) > 1)} {', '.join(numbers)}"] * bool(numbers) + others
    )
