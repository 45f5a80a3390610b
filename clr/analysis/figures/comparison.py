"""Two folders of results: the training loss of each, curves over curves, a panel for each scope that both have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from clr.analysis.figures import style
from clr.analysis.names import display_name
from clr.analysis.tables import Curve, Tables, curves, in_windows, over_seeds, window

COLUMNS = 3
# The others' lie on top, thin and dark, so that both are seen where they agree.
OVER: dict[str, dict[str, Any]] = {
    "clr": {"color": "#00253F", "linestyle": (0, (1, 1.2)), "linewidth": 1.1},
    "sgd": {"color": "#6B2E00", "linestyle": (0, (1, 1.2)), "linewidth": 1.1},
}


def draw(
    mine: dict[str, Tables],
    theirs: dict[str, Tables],
    names: tuple[str, str],
    agreement: pd.DataFrame,
) -> Figure:
    """Of each scope CLR and the best fixed rate of `theirs`, from both folders.

    `mine` and `theirs` are the tables of all figures, `names` what the legend calls them; `agreement` is the table that
    verdicts.agreement.compare makes, with a row for each curve that both have.
    """
    ours, others = _whole(mine), _whole(theirs)
    scopes = list(agreement.groupby(["dataset", "model", "batch_size"]))
    columns = min(COLUMNS, len(scopes))
    rows = -(-len(scopes) // columns)
    figure = Figure(figsize=(2.8 * columns + 1.6, 1.0 + 2.2 * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, ((dataset, model, batch_size), table) in zip(axes, scopes, strict=False):
        scope = {"dataset": dataset, "model": model, "batch_size": batch_size}
        found = {
            (curve.optimizer, curve.rate): curve for curve in _curves(others, scope) if curve.main
        }
        pairs = [
            (curve, found[key])
            for curve in _curves(ours, scope)
            if (key := (curve.optimizer, curve.rate)) in found
        ]
        size = window(pd.concat([other.of(others.steps) for _, other in pairs]))
        under = [_points(curve, ours, size, names[0]) for curve, _ in pairs]
        over = [_points(other, others, size, names[1]) for _, other in pairs]
        limits = style.log_limits([*under, *over])
        style.draw(ax, under, style.looks(ours.runs), limits)
        style.draw(ax, over, style.looks(others.runs) | OVER, limits)
        rates = ", ".join(
            f"{curve.name} at {curve.rate:g}" for curve, _ in pairs if curve.rate is not None
        )
        ax.set_title(
            f"{dataset}, {display_name(model)}, batch size {batch_size}\n{rates + ': ' if rates else ''}"
            f"{(table['agreement'] == 'agree').sum()} of {len(table)} curves agree"
        )
        ax.set(
            xlabel="step" if size == 1 else f"step (each point: the mean of {size})",
            ylabel="training loss",
        )
    for ax in axes[len(scopes) :]:
        ax.set_axis_off()
    # One for all panels: within one it would hide the curves that it names.
    lines = {str(line.get_label()): line for ax in axes for line in ax.lines}
    labels = sorted(label for label in lines if not label.startswith("_"))
    figure.legend([lines[label] for label in labels], labels, loc="outside right upper")
    note = "Of the fixed rates the best is shown, and of its sweep all others counted."
    style.describe(
        figure, ours, f"Training loss: {names[0]} and, dotted on top, {names[1]}", [note]
    )
    return figure


def _whole(figures: dict[str, Tables]) -> Tables:
    """The tables of all figures in one."""
    whole = {}
    for name in ("runs", "steps", "epochs"):
        every = pd.concat([getattr(tables, name) for tables in figures.values()])
        whole[name] = every[
            ~every.index.duplicated()
        ]  # a run of two figures has the same rows in both
    return replace(next(iter(figures.values())), **whole, named=len(whole["runs"]))


def _curves(tables: Tables, scope: dict[str, Any]) -> list[Curve]:
    return curves(tables.runs[(tables.runs[list(scope)] == pd.Series(scope)).all(axis=1)])


def _points(curve: Curve, tables: Tables, size: int, folder: str) -> tuple[Curve, pd.DataFrame]:
    """The curve, called by its folder, and what is drawn of it."""
    points = over_seeds(in_windows(curve.of(tables.steps), "loss", size, "mean"), "step", "loss")
    return Curve(
        curve.optimizer, f"{curve.name}, {folder}", curve.runs, rate=None, best=None
    ), points
