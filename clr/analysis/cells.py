"""The settings of a protocol side by side: final losses and races, one cell for each setting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from clr.analysis.figures.run_groups import RunGroup, group_runs
from clr.analysis.names import display_name
from clr.analysis.race import loss_curves, race, race_targets
from clr.analysis.ratios import NO_RATIO, Ratio
from clr.analysis.tables import Tables
from clr.analysis.verdicts.display import markdown_table
from clr.analysis.verdicts.rules import Rules


@dataclass(frozen=True)
class CellCurve:
    """One optimizer in one cell: at the rate that it sets itself, or at its best fixed rate."""

    optimizer: str
    rate: float | None  # the best fixed rate; None if the optimizer sets its own, or all diverged
    at_edge: bool  # the best fixed rate is at an edge of the sweep
    runs: int
    diverged: int  # number of diverged runs
    loss: Ratio  # final training loss: mean, lowest and highest seed; inf if one diverged
    ratio: Ratio  # steps over those of the best fixed rate of the baseline, at the headline target


@dataclass(frozen=True)
class Cell:
    """One setting: a task of the protocol."""

    setting: str  # its title
    curves: list[CellCurve]  # those that set their own rate, CLR first, then the best fixed rates


def read_cells(tables: Tables, rules: Rules) -> list[Cell]:
    """Cells of a figure in the order of the protocol; a cell without runs has no curves."""
    return [
        Cell(setting, list(_curves(tables.runs_in(setting), tables.steps, rules)))
        for setting in tables.settings
    ]


def _curves(runs: pd.DataFrame, steps: pd.DataFrame, rules: Rules) -> Iterator[CellCurve]:
    groups = group_runs(runs)
    best = next((own for own in groups if own.optimizer == rules.baseline and own.main), None)
    main = [group for group in groups if group.main]
    for group in sorted(main, key=lambda own: (own.best is not None, own.optimizer)):
        ratio = NO_RATIO
        if best is not None and group is not best:
            ratio = _headline(group, best, steps, rules)
        yield CellCurve(
            group.optimizer,
            group.rate,
            group.best is not None and not group.best.interior,
            len(group.runs),
            int(group.runs["diverged"].sum()),
            _final_loss(group),
            ratio,
        )
    # Sweeps of which every rate diverged have no best one.
    for optimizer in sorted({own.optimizer for own in groups} - {own.optimizer for own in main}):
        swept = runs[runs["optimizer"] == optimizer]
        lost = int(swept["diverged"].sum())
        never = Ratio(math.inf, math.inf, math.inf)
        yield CellCurve(optimizer, None, False, len(swept), lost, never, NO_RATIO)


def _final_loss(group: RunGroup) -> Ratio:
    losses = group.runs["final_train_loss"].mask(group.runs["diverged"], math.inf)
    return Ratio(float(losses.mean()), float(losses.min()), float(losses.max()))


def _headline(group: RunGroup, best: RunGroup, steps: pd.DataFrame, rules: Rules) -> Ratio:
    """Ratio of the race at the headline target."""
    own = loss_curves(group.runs, steps, rules.window_epochs)
    other = loss_curves(best.runs, steps, rules.window_epochs)
    if not own or not other:
        return NO_RATIO
    targets = race_targets(own, other, [rules.quicker.headline])
    row = race(own, other, targets, rules.interval.confidence).iloc[0]
    return Ratio(*(float(row[name]) for name in ("ratio", "ratio_low", "ratio_high")))


def cells_markdown(cells: list[Cell], baseline: str) -> str:
    """Markdown table with one row per cell: final losses, and the headline ratios.

    Args:
        cells: result of `read_cells`.
        baseline: the optimizer of the fixed rates, in the last column.
    """
    own = dict.fromkeys(
        curve.optimizer for cell in cells for curve in cell.curves if curve.optimizer != baseline
    )
    header = ["setting"]
    for optimizer in own:
        name = display_name(optimizer)
        header += [f"{name}: final loss", f"{name}: steps / best fixed rate"]
    header.append(f"best fixed rate of {display_name(baseline)}: final loss")
    rows = []
    for cell in cells:
        curves = {curve.optimizer: curve for curve in cell.curves}
        row = [cell.setting]
        for curve in map(curves.get, own):
            row += ["", ""] if curve is None else [loss_text(curve), _ratio_text(curve.ratio)]
        best = curves.get(baseline)
        rows.append([*row, "" if best is None else f"{_rate_text(best)}: {loss_text(best)}"])
    return markdown_table(header, ["---"] * len(header), rows)


def loss_text(curve: CellCurve) -> str:
    """Final loss for readers: mean and range over the seeds, or the number of diverged runs."""
    if curve.diverged:
        return f"{curve.diverged} of {curve.runs} runs diverged"
    return curve.loss.text("diverged")


def _ratio_text(ratio: Ratio) -> str:
    """Ratio for readers, with words where one of the two never gets to the target."""
    if math.isnan(ratio.value):
        return ""
    if ratio.value == 0 and ratio.upper_bound == 0:
        return "best fixed rate: not reached"
    return ratio.text("not reached")


def _rate_text(best: CellCurve) -> str:
    if best.rate is None:
        return "all rates"
    return f"{best.rate:g}{' (edge of the sweep)' if best.at_edge else ''}"
