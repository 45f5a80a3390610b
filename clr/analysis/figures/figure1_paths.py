"""Figure 1, paths: gradient descent, CLR and the gradient flow in corridors and in a bowl.

The upper row shows paths and level lines, the lower row the loss over the time Σh, which is the
time of the flow. The figure needs no runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clr.analysis.figures import style
from clr.analysis.figures.captions import write_caption, write_title
from clr.geometry import Bowl, Ruled, Sine, Strips, derivatives, gradient, gradient_flow


@dataclass(frozen=True, eq=False)
class Path:
    """Points on a surface, shape (n, 2), with the time and the loss at each, shape (n,)."""

    points: np.ndarray
    times: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class PathPanel:
    """A surface, the part of it that is shown, and the paths on it."""

    title: str
    surface: Ruled | Strips | Bowl
    x: tuple[float, float]  # limits of the part
    y: tuple[float, float]
    level: float  # distance between level lines
    start: tuple[float, float]
    rates: tuple[float, float, float]  # fixed learning rates
    time: float  # at which paths end


PANELS = [
    PathPanel(
        "one corridor",
        Ruled(1.0, Sine(0.6)),
        x=(-1.1, 1.9),
        y=(-0.9, 2.1),
        level=0.2,
        start=(-0.1, 1.55),
        rates=(0.1, 0.4, 0.9),
        time=2.5,
    ),
    PathPanel(
        "several corridors",
        Strips(1.0, (1.2, 2.0, 3.5)),
        x=(-0.8, 3.0),
        y=(-0.4, 3.4),
        level=1.0,
        start=(2.75, 3.0),
        rates=(0.1, 0.25, 0.6),
        time=3.0,
    ),
    PathPanel(
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
# Markers differ for gray print; CLR's are hollow, so that those below stay visible.
FLOW: style.Look = {"color": "#B5B5B5", "linewidth": 4, "solid_capstyle": "butt", "zorder": 2}
CLR: style.Look = style.LOOKS["clr"] | {
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": "none",
    "zorder": 5,
}
FIXED: list[style.Look] = [
    {"color": "#E69F00", "marker": "o", "markersize": 2.4, "linewidth": 0.8, "zorder": 6},
    {"color": "#D55E00", "marker": "s", "markersize": 3, "linewidth": 0.8, "zorder": 6},
    {"color": "#CC79A7", "marker": "^", "markersize": 3.6, "linewidth": 0.8, "zorder": 6},
]
EPSILON = 1e-9  # a loss or κ up to this is 0


def draw() -> Figure:
    """Draw the paths on three surfaces, one per column."""
    figure = Figure(figsize=(7, 5))
    axes = figure.subplots(2, len(PANELS), height_ratios=[1.3, 1])
    for (above, below), panel in zip(axes.T, PANELS, strict=True):
        _draw_levels(above, panel)
        _draw_path(above, below, flow(panel), "gradient flow", FLOW)
        for rate, look in zip(panel.rates, FIXED, strict=True):
            _draw_path(above, below, descend(panel, rate), f"GD, h = {rate:g}", look)
        _draw_path(above, below, descend(panel, None), "CLR", CLR)
        top = below.get_ylim()[1]
        below.set(xlabel="time Σh", xlim=(-0.04 * panel.time, panel.time), ylim=(-0.04 * top, top))
        below.legend()
    axes[1, 0].set_ylabel("loss E")
    write_title(figure, "In a corridor, gradient descent follows the gradient flow")
    write_caption(
        figure,
        [
            "Top: level lines of E ≥ 0, the darkest at 0, and paths with a marker for each step. "
            "Bottom: E over the time Σh. Gradient descent (GD) steps by −hg, g = ∇E, at a fixed h; "
            "CLR at h = E/‖g‖². κ = E‖Hg‖/‖g‖³ at the start.",
            "In a corridor κ = 0, all paths lie on one line and E falls linearly. CLR reaches "
            "E = 0 in one step; a fixed h that overshoots E = 0 oscillates around it. At a crease "
            "the flow bends, while a step that crosses it stays straight. Formulas, no runs.",
        ],
    )
    return figure


def flow(panel: PathPanel) -> Path:
    """Gradient flow until E ≤ 0 or the panel's time."""
    start = torch.tensor(panel.start, dtype=torch.float64)
    end = panel.time
    if isinstance(panel.surface, Ruled):
        # The flow reaches E = 0 at a known time. It stops shortly before: E has no gradient there.
        end = min(end, 0.999 * float(panel.surface(start)) / panel.surface.c**2)
    times = np.linspace(0, end, 201)
    points = gradient_flow(panel.surface, start, times)
    return _while_positive(points.numpy(), times, panel.surface(points).numpy())


def descend(panel: PathPanel, rate: float | None) -> Path:
    """Gradient descent until E ≤ 0 or the panel's time, at `rate` or, if None, at E/‖g‖² (CLR)."""
    theta = torch.tensor(panel.start, dtype=torch.float64)
    points, times = [theta], [0.0]
    while times[-1] < panel.time and (loss := float(panel.surface(theta))) > EPSILON:
        g = gradient(panel.surface, theta)
        h = loss / float(g.square().sum()) if rate is None else rate
        theta = theta - h * g
        points.append(theta)
        times.append(times[-1] + h)
    path = torch.stack(points)
    return _while_positive(path.numpy(), np.array(times), panel.surface(path).numpy())


def _while_positive(points: np.ndarray, times: np.ndarray, losses: np.ndarray) -> Path:
    shown = losses > -EPSILON
    return Path(points[shown], times[shown], losses[shown])


def _draw_path(above: Axes, below: Axes, path: Path, label: str, look: style.Look) -> None:
    above.plot(*path.points.T, label=label, **look)
    below.plot(path.times, path.losses, label=label, **look)


def _draw_levels(ax: Axes, panel: PathPanel) -> None:
    """Draw level lines at equal steps of E, a darker one at E = 0, and write κ at the start."""
    spans = (torch.linspace(*span, 161, dtype=torch.float64) for span in (panel.x, panel.y))
    x, y = torch.meshgrid(*spans, indexing="xy")
    energy = panel.surface(torch.stack([x, y], dim=-1)).numpy()
    levels = np.arange(panel.level, energy.max(), panel.level)
    ax.contour(x, y, energy, levels, colors="#C8D4DC", linewidths=0.6, zorder=1)
    zeros = _zeros(panel.surface)
    marker = "." if len(zeros) == 1 else ""
    ax.plot(*zeros.T, color=style.QUIET, linewidth=1.2, marker=marker, zorder=1)
    loss, g, hg = derivatives(panel.surface, torch.tensor(panel.start, dtype=torch.float64))
    kappa = float(loss * hg.norm() / g.norm() ** 3)
    ax.set_title(f"{panel.title}: κ = {kappa:.2f}" if kappa > EPSILON else f"{panel.title}: κ = 0")
    ax.set(xlim=panel.x, ylim=panel.y, aspect="equal", xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(True)


def _zeros(surface: Ruled | Strips | Bowl) -> np.ndarray:
    """Points of the line E = 0, shape (n, 2), or the only such point, shape (1, 2)."""
    if isinstance(surface, Bowl):
        return surface.zero[None].numpy()
    x = torch.linspace(-2, 4, 200, dtype=torch.float64)
    if isinstance(surface, Ruled):
        return surface.curve.point(x).numpy()
    y = -surface(torch.stack([x, 0 * x], dim=-1)) / surface.p
    return torch.stack([x, y], dim=-1).numpy()
