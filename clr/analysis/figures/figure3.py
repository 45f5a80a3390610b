"""Figures 3 and 5: training with CLR alone, one curve for each batch size."""

from __future__ import annotations

from matplotlib.figure import Figure

from clr.analysis.figures import batch_sizes, style
from clr.analysis.tables import Tables, over_seeds, window


def draw(tables: Tables) -> Figure:
    figure = Figure(figsize=(7, 3.3))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    sized = batch_sizes.by_batch_size(tables.runs)
    losses = batch_sizes.over_epochs(sized, tables.steps, "loss", "mean")
    batch_sizes.draw(left, losses, style.log_limits(losses))
    left.set(title="Training loss", xlabel="epoch", ylabel="loss of the batch")
    style.legend(left, others=[])

    accuracy = tables.epochs.assign(percent=100 * tables.epochs["test_accuracy"])
    finished = [(curve, over_seeds(curve.of(accuracy), "epoch", "percent")) for _, curve in sized]
    batch_sizes.draw(right, finished, None)
    right.set(title="Test accuracy", xlabel="finished epochs", ylabel="accuracy, %")

    windows: dict[int, list[str]] = {}
    for size, curve in sized:
        windows.setdefault(window(curve.of(tables.steps)), []).append(str(size))
    title = "Training with CLR" + (" across batch sizes" if len(sized) > 1 else "")
    style.describe(figure, tables, title, [_note(windows)])
    return figure


def _note(windows: dict[int, list[str]]) -> str:
    """How many steps make a point; `windows` are the batch sizes for each such number."""
    if set(windows) == {1}:
        return "The loss of every step is shown."
    if len(windows) == 1:
        return f"Each point of the loss is the mean of {next(iter(windows))} steps."
    each = ", ".join(f"{n} (batch size {', '.join(sizes)})" for n, sizes in windows.items())
    return f"Each point of the loss is the mean of so many steps: {each}."
