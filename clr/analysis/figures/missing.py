"""Which figures a folder of results lacks, and the command that makes their runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from clr.analysis.tables import Tables, make_missing
from clr.config import CONFIGS


def lines(folder: Path, figures: Mapping[str, Tables]) -> list[str]:
    """A line for each figure that has no runs or too few; `figures` are those that figure_runs.csv names."""
    protocol = folder.resolve().name
    protocols = {
        path.stem: yaml.safe_load(path.read_text())
        for path in sorted((CONFIGS / "protocol").glob("*.yaml"))
    }
    told = []
    for figure in map(str, yaml.safe_load((CONFIGS / "sweep.yaml").read_text())["figures"]):
        name = f"Figure {figure}" if figure.isdigit() else f"The figure {figure}"
        having = [
            stem for stem, config in protocols.items() if figure in map(str, config["figures"])
        ]
        if figure in figures:
            named, made = figures[figure].named, len(figures[figure].runs)
            if made < named:
                told.append(
                    f"{name} lacks {named - made} of its {named} runs; make them with: {make_missing(folder)}"
                )
        elif protocol in having:
            told.append(f"{name} has no runs in {folder}; make them with: {make_missing(folder)}")
        else:
            told.append(
                f"{name} is not in protocol {protocol}; make it with: make reproduce PROTOCOL={having[0]}"
            )
    return told
