"""Figures 3 and 5: training with CLR alone, one curve for each batch size."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.figure import Figure

from plots import style
from plots.tables import Curve, Tables, curves, in_windows, over_seeds, window


def draw(tables: Tables) -> Figure:
    figure = Figure(figsize=(7, 3.3))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    sizes = sorted(tables.runs["batch_size"].unique())
    accuracy = tables.epochs.assign(percent=100 * tables.epochs["test_accuracy"])

    drawn = []
    windows: dict[int, list[str]] = {}
    for size in sizes:
        curve = _curve(tables, size)
        steps = curve.of(tables.steps)
        windows.setdefault(window(steps), []).append(str(size))
        points = over_seeds(in_windows(steps, "loss", window(steps), "mean"), "step", "loss")
        # Epochs, for a step of another batch size is another amount of data; an epoch's incomplete batch is left out.
        per_epoch = int(curve.runs["num_train"].iloc[0]) // size
        drawn.append((curve, points.set_axis(points.index / per_epoch)))
    limits = style.log_limits(drawn)
    # The largest first, for the legend names the last first.
    for (curve, points), shade in zip(drawn[::-1], style.shades(len(drawn)), strict=True):
        look = {curve.optimizer: shade}
        style.draw(left, [(curve, points)], look, ylim=limits)
        style.draw(right, [(curve, over_seeds(curve.of(accuracy), "epoch", "percent"))], look, ylim=None)
    left.set(title="Training loss", xlabel="epoch", ylabel="loss of the batch")
    right.set(title="Test accuracy", xlabel="finished epochs", ylabel="accuracy, %")
    style.legend(left, others=[])

    title = "Training with CLR" + (" across batch sizes" if len(sizes) > 1 else "")
    style.describe(figure, tables, title, [_note(windows)])
    return figure


def _curve(tables: Tables, size: int) -> Curve:
    found = curves(tables.runs[tables.runs["batch_size"] == size])
    if len(found) != 1 or found[0].rate is not None:
        raise ValueError("this figure shows one optimizer that sets its own rate")
    return replace(found[0], name=f"{found[0].name}, batch size {size}")


def _note(windows: dict[int, list[str]]) -> str:
    """How many steps make a point; `windows` are the batch sizes for each such number."""
    if set(windows) == {1}:
        return "The loss of every step is shown."
    if len(windows) == 1:
        return f"Each point of the loss is the mean of {next(iter(windows))} steps."
    each = ", ".join(f"{n} (batch size {', '.join(sizes)})" for n, sizes in windows.items())
    return f"Each point of the loss is the mean of so many steps: {each}."
