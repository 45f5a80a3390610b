"""Figures that a folder of results lacks or has in part, and the commands that complete them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from clr.analysis.names import figure_file, figure_name, figure_order
from clr.analysis.tables import Tables, complete_command
from clr.config import CONFIGS


def missing_lines(folder: Path, figures: Mapping[str, Tables]) -> list[str]:
    """One line for each figure that has too few runs or none.

    A figure that is not in the paper is named only if the protocol has it.

    Args:
        folder: results of one protocol.
        figures: tables of the figures that figure_runs.csv names.
    """
    protocol = folder.resolve().name
    protocols = figures_of_protocols()
    lines = []
    for figure in known_figures():
        name = figure_name(figure)
        owners = [owner for owner, planned in protocols.items() if figure in planned]
        command = complete_command(folder)
        if figure in figures:
            tables = figures[figure]
            if tables.missing:
                lines.append(
                    f"{name} lacks {tables.missing} of its {tables.planned} runs; "
                    f"train them with: {command}"
                )
        elif protocol in owners:
            if folder.resolve().parent != CONFIGS.parent / "results":
                command = f".venv/bin/python sweep.py protocol={protocol} figure={figure} results="
                command += shlex.quote(str(folder.parent))
            lines.append(f"{name} has no runs in {folder}; train them with: {command}")
        elif owners and figure.isdigit():
            lines.append(
                f"{name} is not part of the protocol {protocol}; "
                f"create it with: make reproduce PROTOCOL={owners[0]}"
            )
    return lines


def owners_of_absent(
    protocol: str, present: Collection[str]
) -> list[tuple[list[str], str, list[str]]]:
    """Figures that are not in `present`, grouped by the protocols that have them.

    A figure that is not in the paper is left out if the protocol does not have it.

    Returns:
        Tuples of figures, one protocol that has them (`protocol` itself if it does), and the
        other protocols that have them.
    """
    protocols = figures_of_protocols()
    groups: dict[tuple[str, ...], list[str]] = {}
    absent = set(known_figures()) - set(present)
    for figure in sorted(absent, key=lambda figure: figure_order(figure_file(figure))):
        owners = [owner for owner, planned in protocols.items() if figure in planned]
        owners.sort(key=lambda owner: owner != protocol)
        if owners and (figure.isdigit() or protocol in owners):
            groups.setdefault(tuple(owners), []).append(figure)
    return [(figures, first, others) for (first, *others), figures in groups.items()]


def known_figures() -> list[str]:
    """Figures that configs/sweep.yaml defines."""
    sweep = yaml.safe_load((CONFIGS / "sweep.yaml").read_text(encoding="utf-8"))
    return [str(figure) for figure in sweep["figures"]]


def figures_of_protocols() -> dict[str, list[str]]:
    """Figures of each protocol in configs/protocol, by the protocol's name."""
    configs = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted((CONFIGS / "protocol").glob("*.yaml"))
    }
    return {name: [str(figure) for figure in config["figures"]] for name, config in configs.items()}
