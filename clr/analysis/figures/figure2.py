"""Figures 2 and 7: CLR against SGD at the best fixed rate of a sweep, at one batch size."""

from __future__ import annotations

from matplotlib.figure import Figure

from clr.analysis.figures import style
from clr.analysis.tables import Tables, curves, in_windows, over_seeds, window


def draw(tables: Tables) -> Figure:
    figure = Figure(figsize=(7, 3.3))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    drawn, look = curves(tables.runs), style.looks(tables.runs)

    size = window(tables.steps)
    losses = in_windows(tables.steps, "loss", size, "mean")
    points = [(curve, over_seeds(curve.of(losses), "step", "loss")) for curve in drawn]
    style.draw(left, points, look, ylim=style.log_limits(points))
    left.set(title="Training loss", xlabel="step", ylabel="loss of the batch")
    style.legend(left, others=[curve for curve in drawn if not curve.main])

    main = [curve for curve in drawn if curve.main]
    accuracy = tables.epochs.assign(percent=100 * tables.epochs["test_accuracy"])
    points = [(curve, over_seeds(curve.of(accuracy), "epoch", "percent")) for curve in main]
    style.draw(right, points, look, ylim=None)
    right.set(title="Test accuracy", xlabel="finished epochs", ylabel="accuracy, %")

    note = (
        f"Each point of the loss is the mean of {size} steps."
        if size > 1
        else "The loss of every step is shown."
    )
    style.describe(figure, tables, "CLR against the best fixed learning rate", [note])
    return figure
