"""Gradient descent at three fixed rates, CLR and the gradient flow: in one corridor, over several, and on a bowl.

Above the paths over level lines, below the loss over the time Σh, which is the flow's own. It needs no runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clr.analysis.figures import style
from clr.geometry import Bowl, Ruled, Sine, Strips, derivatives, gradient, gradient_flow

Path = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # points, shape (n, 2), times and losses there, shape (n,)


@dataclass(frozen=True)
class Panel:
    """A surface and the part of it that is shown, where all start, the fixed rates, and how long they go on."""

    title: str
    surface: Ruled | Strips | Bowl
    x: tuple[float, float]  # from to
    y: tuple[float, float]
    level: float  # from one level line to the next
    start: tuple[float, float]
    rates: tuple[float, float, float]
    time: float


PANELS = [
    Panel(
        "one corridor",
        Ruled(1.0, Sine(0.6)),
        x=(-1.1, 1.9),
        y=(-0.9, 2.1),
        level=0.2,
        start=(-0.1, 1.55),
        rates=(0.1, 0.4, 0.9),
        time=2.5,
    ),
    Panel(
        "several corridors",
        Strips(1.0, (1.2, 2.0, 3.5)),
        x=(-0.8, 3.0),
        y=(-0.4, 3.4),
        level=1.0,
        start=(2.75, 3.0),
        rates=(0.1, 0.25, 0.6),
        time=3.0,
    ),
    Panel(
        "a bowl, no corridor",
        Bowl((1.0, 10.0)),
        x=(-0.5, 3.3),
        y=(-1.9, 1.9),
        level=1.0,
        start=(3.0, 1.5),
        rates=(0.03, 0.12, 0.19),
        time=1.0,
    ),
]
# The markers differ for print in grey; CLR's are hollow, to show what lies below.
FLOW: dict[str, Any] = {"color": "#B5B5B5", "linewidth": 4, "solid_capstyle": "butt", "zorder": 2}
CLR: dict[str, Any] = style.LOOKS["clr"] | {
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": "none",
    "zorder": 5,
}
FIXED: list[dict[str, Any]] = [
    {"color": "#E69F00", "marker": "o", "markersize": 2.4, "linewidth": 0.8, "zorder": 6},
    {"color": "#D55E00", "marker": "s", "markersize": 3, "linewidth": 0.8, "zorder": 6},
    {"color": "#CC79A7", "marker": "^", "markersize": 3.6, "linewidth": 0.8, "zorder": 6},
]


def draw() -> Figure:
    figure = Figure(figsize=(7, 5))
    axes = figure.subplots(2, len(PANELS), height_ratios=[1.3, 1])
    for (above, below), panel in zip(axes.T, PANELS, strict=True):
        _levels(above, panel)
        _path(above, below, flow(panel), "gradient flow", FLOW)
        for rate, look in zip(panel.rates, FIXED, strict=True):
            _path(above, below, descend(panel, rate), f"GD, h = {rate:g}", look)
        _path(above, below, descend(panel, None), "CLR", CLR)
        top = below.get_ylim()[1]
        below.set(xlabel="time Σh", xlim=(-0.04 * panel.time, panel.time), ylim=(-0.04 * top, top))
        below.legend()
    axes[1, 0].set_ylabel("loss E")
    style.write_above(figure, "Gradient descent and the gradient flow are one in a corridor")
    style.write_below(
        figure,
        [
            "Above: level lines of E ≥ 0, the darkest at 0, and the paths, a marker for each step. Below: E over the "
            "time Σh. Gradient descent (GD) steps by −hg, g = ∇E, at a fixed h, CLR at h = E/‖g‖². "
            "κ = E‖Hg‖/‖g‖³ at the start.",
            "In a corridor κ = 0, all go along one line and E falls linearly; CLR reaches E = 0 in a step, and what "
            "jumps over it goes to and fro. A step over a crease goes straight on where the flow bends. "
            "Formulas, no runs.",
        ],
    )
    return figure


def flow(panel: Panel) -> Path:
    """The gradient flow until E ≤ 0 or time is up."""
    start = torch.tensor(panel.start, dtype=torch.float64)
    times = np.linspace(0, panel.time, 201)
    if isinstance(panel.surface, Ruled):
        # In a corridor it is known when it ends; an instant before, as there is no gradient there.
        end = float(panel.surface(start)) / panel.surface.c**2
        times = np.linspace(0, min(panel.time, 0.999 * end), 201)
    points = gradient_flow(panel.surface, start, times)
    return _while_positive(points.numpy(), times, panel.surface(points).numpy())


def descend(panel: Panel, rate: float | None) -> Path:
    """Gradient descent at `rate`, None being CLR's E/‖g‖², until E ≤ 0 or time is up."""
    theta = torch.tensor(panel.start, dtype=torch.float64)
    points, times = [theta], [0.0]
    while times[-1] < panel.time and (loss := float(panel.surface(theta))) > 1e-9:
        g = gradient(panel.surface, theta)
        h = loss / float(g.square().sum()) if rate is None else rate
        theta = theta - h * g
        points.append(theta)
        times.append(times[-1] + h)
    path = torch.stack(points)
    return _while_positive(path.numpy(), np.array(times), panel.surface(path).numpy())


def _while_positive(points: np.ndarray, times: np.ndarray, losses: np.ndarray) -> Path:
    shown = losses > -1e-9
    return points[shown], times[shown], losses[shown]


def _path(above: Axes, below: Axes, path: Path, label: str, look: dict[str, Any]) -> None:
    points, times, losses = path
    above.plot(*points.T, label=label, **look)
    below.plot(times, losses, label=label, **look)


def _levels(ax: Axes, panel: Panel) -> None:
    """Level lines at equal steps of E, and where E = 0; κ at the start."""
    spans = (torch.linspace(*span, 161, dtype=torch.float64) for span in (panel.x, panel.y))
    x, y = torch.meshgrid(*spans, indexing="xy")
    energy = panel.surface(torch.stack([x, y], dim=-1)).numpy()
    levels = np.arange(panel.level, energy.max(), panel.level)
    ax.contour(x, y, energy, levels, colors="#C8D4DC", linewidths=0.6, zorder=1)
    floor = _floor(panel.surface)
    ax.plot(
        *floor.T, color=style.QUIET, linewidth=1.2, marker="." if len(floor) == 1 else "", zorder=1
    )
    loss, g, hg = derivatives(panel.surface, torch.tensor(panel.start, dtype=torch.float64))
    kappa = float(loss * hg.norm() / g.norm() ** 3)
    ax.set_title(f"{panel.title}: κ = {kappa:.2f}" if kappa > 1e-9 else f"{panel.title}: κ = 0")
    ax.set(xlim=panel.x, ylim=panel.y, aspect="equal", xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(True)


def _floor(surface: Ruled | Strips | Bowl) -> np.ndarray:
    """Points of the line where E = 0, shape (n, 2), or the one such point."""
    x = torch.linspace(-2, 4, 200, dtype=torch.float64)
    if isinstance(surface, Ruled):
        return surface.curve.point(x).numpy()
    if isinstance(surface, Strips):
        return torch.stack(
            [x, -surface(torch.stack([x, 0 * x], dim=-1)) / surface.p], dim=-1
        ).numpy()
    return surface.zero[None].numpy()
