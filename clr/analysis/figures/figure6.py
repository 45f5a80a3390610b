"""Figures 6 and 8: CLR against SGD at the best fixed rate, at each batch size of a sweep."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clr.analysis.figures import style
from clr.analysis.names import display_name
from clr.analysis.tables import Curve, Tables, by_epoch, curves, over_seeds


def draw(tables: Tables) -> Figure:
    losses, look = by_epoch(tables.steps), style.looks(tables.runs)
    panels = {
        size: [
            (curve, over_seeds(curve.of(losses), "epoch", "loss"))
            for curve in curves(tables.runs[tables.runs["batch_size"] == size])
        ]
        for size in sorted(tables.runs["batch_size"].unique())
    }
    # The last panel sums the others up, over what is left of its row.
    columns = 2 if len(panels) in (1, 3) else 3
    rows = len(panels) // columns + 1
    names = [str(size) for size in panels] + ["last"] * (rows * columns - len(panels))
    figure = Figure(figsize=(7, 0.9 + 2.1 * rows))
    grid: list[Any] = [names[i : i + columns] for i in range(0, len(names), columns)]
    axes = figure.subplot_mosaic(grid, sharey=True)
    ylim = style.log_limits([drawn for panel in panels.values() for drawn in panel])
    for size, panel in panels.items():
        ax = axes[str(size)]
        style.draw(ax, panel, look, ylim)
        style.legend(
            ax, others=[]
        )  # a small panel has no room for more: the note below explains the grey
        gone = [f"{curve.rate:g}" for curve, _ in panel if curve.diverged and not curve.main]
        ax.set(
            title=f"batch size {size}" + (f" (diverged: rate {', '.join(gone)})" if gone else ""),
            xlabel="epoch",
        )
    _summary(
        axes["last"], {size: [curve for curve, _ in panel] for size, panel in panels.items()}, look
    )
    for i, name in enumerate(dict.fromkeys(names)):
        if i % columns:
            axes[name].tick_params(labelleft=False, which="both")
        else:
            axes[name].set_ylabel("training loss")
    note = "Each point is the mean loss over the steps of one epoch. Bars reach from the lowest to the highest seed."
    style.describe(
        figure, tables, "CLR against the best fixed learning rate across batch sizes", [note]
    )
    return figure


def _summary(ax: Axes, panels: dict[int, list[Curve]], look: dict[str, dict[str, Any]]) -> None:
    """The final training loss of the main curves against the batch size; bars reach from the lowest to the highest."""
    for optimizer in dict.fromkeys(
        curve.optimizer for drawn in panels.values() for curve in drawn if curve.main
    ):
        sizes, means, bars = [], [], []
        for size, drawn in panels.items():
            for curve in drawn:
                if curve.main and curve.optimizer == optimizer and not curve.diverged:
                    final = curve.runs["final_train_loss"]
                    sizes.append(size)
                    means.append(final.mean())
                    bars.append((final.mean() - final.min(), final.max() - final.mean()))
        if sizes:
            ax.errorbar(
                sizes,
                means,
                list(zip(*bars, strict=True)),
                label=display_name(optimizer),
                marker="o",
                markersize=3,
                capsize=2,
                elinewidth=0.8,
                **look[optimizer],
            )
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(panels), [str(size) for size in panels], minor=False)
    ax.set(title="last epoch", xlabel="batch size")
    ax.legend(
        *(entries[::-1] for entries in ax.get_legend_handles_labels())
    )  # CLR first, as in the other panels
