"""Groups of methods that the arena's figures draw in one column, each with CLR and the baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from clr.analysis.arena.contenders import Setting
from clr.analysis.figures import style
from clr.analysis.figures.captions import SPREAD, describe
from clr.analysis.figures.run_groups import RunGroup
from clr.analysis.names import display_name
from clr.analysis.tables import Tables
from clr.analysis.verdicts.rules import Rules

PER_GROUP = 4  # methods in a column, in addition to CLR and the baseline
LOOKS: list[style.Look] = [*style.OTHERS, {"color": "#111111", "linestyle": (0, (3, 1, 1, 1))}]
THIN: style.Look = {"linewidth": 1.1}


@dataclass(frozen=True)
class Column:
    """Methods that are drawn together, in drawing order: CLR is last and on top."""

    names: list[str]
    looks: dict[str, style.Look]


def columns(settings: list[Setting], rules: Rules) -> list[Column]:
    """Split the methods of all settings into columns, in the order of their display names."""
    fixed = [rules.baseline, rules.optimizer]
    names = {name: None for setting in settings for name in setting.contenders}
    present = [name for name in fixed if name in names]
    others = sorted(set(names) - set(fixed), key=lambda name: display_name(name).lower())
    count = max(1, -(-len(others) // PER_GROUP))
    # Columns of equal length, or of one method more.
    bounds = [len(others) * i // count for i in range(count + 1)]
    groups = [others[start:stop] for start, stop in pairwise(bounds)]
    return [
        Column(
            [*group, *present],
            {name: look | THIN for name, look in style.LOOKS.items()}
            | {name: look | THIN for name, look in zip(group, LOOKS, strict=False)},
        )
        for group in groups
    ]


def run_groups(setting: Setting, column: Column) -> Iterator[RunGroup]:
    """The tuned runs of each method of a column in a setting, or those of its default."""
    for name in column.names:
        contender = setting.contenders.get(name)
        entry = contender.shown if contender else None
        if entry is not None:
            yield RunGroup(name, display_name(name), entry.runs, rate=None, best=None)


def describe_arena(
    figure: Figure, tables: Tables, title: str, notes: list[str], spread: str = SPREAD
) -> None:
    """Write title and caption. The caps are left out, because some methods are tuned over them."""
    runs = tables.runs.assign(max_lr=float("nan"))
    describe(figure, replace(tables, runs=runs), title, notes, spread)


def add_column_legends(axes: list[Axes], shown: list[Column], without: str = "") -> None:
    """Add the legend of each column above its first panel, without the method of this name."""
    for ax, column in zip(axes, shown, strict=True):
        handles = [
            Line2D([], [], label=display_name(name), **column.looks[name])
            for name in column.names[::-1]
            if name != without
        ]
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.05, 1.02)}
        ax.legend(handles=handles, borderaxespad=0, fontsize=6, handlelength=1.8, **place)


def setting_notes(settings: list[Setting]) -> str:
    """Sentence with the tuned value of each method, by batch size, and what diverged."""
    values: dict[str, list[str]] = {}
    diverged: dict[str, list[str]] = {}
    for setting in settings:
        for name, contender in setting.contenders.items():
            if contender.tuned is not None:
                value = f"{contender.tuned.value:g}"
                values.setdefault(f"{display_name(name)} {contender.key}", []).append(value)
            elif contender.key:
                diverged.setdefault(display_name(name), []).append(str(setting.batch_size))
    parts = [f"{name} {', '.join(dict.fromkeys(own))}" for name, own in values.items()]
    text = f"Tuned values: {'; '.join(parts)}." if parts else "No method was tuned."
    for name, sizes in diverged.items():
        text += f" {name} has a diverged run at every value (batch size {', '.join(sizes)})."
    return text
