"""CLR's curves at the batch sizes of a sweep, over epochs: what Figures 3, 5 and 9 show."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes

from clr.analysis.figures import style
from clr.analysis.tables import Curve, curves, in_windows, over_seeds, window

Drawn = list[tuple[Curve, pd.DataFrame]]


def by_batch_size(runs: pd.DataFrame) -> list[tuple[int, Curve]]:
    """The curve of each batch size, the smallest first; ValueError if there is more than one."""
    found = []
    for size in sorted(runs["batch_size"].unique()):
        of_size = curves(runs[runs["batch_size"] == size])
        if len(of_size) != 1 or of_size[0].rate is not None:
            raise ValueError("this figure shows one optimizer that sets its own rate")
        found.append((size, replace(of_size[0], name=f"{of_size[0].name}, batch size {size}")))
    return found


def over_epochs(sized: list[tuple[int, Curve]], steps: pd.DataFrame, y: str, how: str) -> Drawn:
    """Each curve with the `how` (mean or median) of `y` over a window of steps, at the epoch of its middle."""
    drawn = []
    for size, curve in sized:
        own = curve.of(steps)
        points = over_seeds(in_windows(own, y, window(own), how), "step", y)
        # Epochs, for a step of another batch size is another amount of data; an epoch's incomplete batch is left out.
        per_epoch = int(curve.runs["num_train"].iloc[0]) // size
        drawn.append((curve, points.set_axis(points.index / per_epoch)))
    return drawn


def draw(ax: Axes, drawn: Drawn, ylim: tuple[float, float] | None) -> None:
    """The curves in shades of CLR's colour."""
    # The largest first, for the legend names the last first.
    for (curve, points), shade in zip(drawn[::-1], style.shades(len(drawn)), strict=True):
        style.draw(ax, [(curve, points)], {curve.optimizer: shade}, ylim)
