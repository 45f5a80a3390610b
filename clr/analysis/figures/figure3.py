"""Figures 3 and 5: training with CLR, one curve for each batch size."""

from __future__ import annotations

from matplotlib.figure import Figure

from clr.analysis.figures import batch_sizes, panels, single_steps
from clr.analysis.figures.captions import describe
from clr.analysis.figures.run_groups import accuracy_points, steps_per_point
from clr.analysis.tables import Tables


def draw(tables: Tables) -> Figure:
    """Draw training loss and test accuracy over epochs."""
    figure = Figure(figsize=(7, 3.3))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    sized = batch_sizes.group_by_batch_size(tables.runs)
    losses = batch_sizes.over_epochs(sized, tables.steps, "loss", "mean")
    single = batch_sizes.steps_over_epochs(sized.values(), tables.steps, "loss")
    ylim = panels.log_limits(losses, also=single_steps.shown_range(single))
    batch_sizes.draw(left, losses, ylim, single)
    left.set(title="Training loss", xlabel="epoch", ylabel="loss of the batch")
    panels.add_legend(left)

    accuracies = accuracy_points(list(sized.values()), tables.epochs)
    batch_sizes.draw(right, accuracies, None)
    right.set(title="Test accuracy", xlabel="finished epochs", ylabel="accuracy, %")

    windows: dict[int, list[str]] = {}
    for size, group in sized.items():
        windows.setdefault(steps_per_point(group.rows(tables.steps)), []).append(str(size))
    title = "Training with CLR" + (" across batch sizes" if len(sized) > 1 else "")
    describe(figure, tables, title, [_note(windows)])
    return figure


def _note(windows: dict[int, list[str]]) -> str:
    """Number of steps per point; `windows` maps it to the batch sizes that have it."""
    if set(windows) == {1}:
        return "Loss: every step."
    if len(windows) == 1:
        return f"Loss: each point is the mean of {next(iter(windows))} steps."
    counts = [f"{n} (batch size {', '.join(sizes)})" for n, sizes in windows.items()]
    return f"Loss: number of steps that each point is the mean of: {'; '.join(counts)}."
