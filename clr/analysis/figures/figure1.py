"""Figure 1: (a) ruled surfaces that form a corridor, (b) steepest descent in several corridors.

It needs no runs: surfaces and lines are computed from formulas.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D
from torch import Tensor

from clr.analysis.figures import style
from clr.analysis.figures.captions import write_caption, write_title
from clr.geometry import Ruled, Sine, Strips

# Panel a: s and u are the coordinates along the curve and across it.
CURVE = Sine(0.8)
VALLEY = Ruled(0.6, CURVE)
S_RANGE, MAX_U = (-0.9, 6.6), 1.12  # u ends shortly before CURVE.reach
# Panel b: the same lines as with slopes 1.2, 2 and 3.5 and p = 1, but flat enough for equal axes.
FOLDED = Strips(0.4, (0.48, 0.8, 1.4))
START = (2.75, 3.0)  # of the red line
X_RANGE, MAX_Y = (-0.6, 2.95), 3.2

RED = "#D0021B"
HEIGHT = LinearSegmentedColormap.from_list("height", ["#0F5C94", "#5BA8D6", "#CFE6EE"])
TINTS = np.array([to_rgb(color) for color in ("#7DB8DC", "#EFC36F", "#8CC08A")])
BLOCK = np.array(to_rgb("#DEDEDA"))
SUN = np.array([0.35, -0.45, 0.82])  # direction of the light
LINE: style.Look = {"color": style.INK, "linewidth": 0.6, "zorder": 3, "clip_on": False}
LEVEL: style.Look = {
    "color": "white",
    "linewidth": 0.45,
    "alpha": 0.65,
    "zorder": 2,
    "clip_on": False,
}
# Thin edges in the patches' own colors close the seams that antialiasing leaves between them.
# Rasterized, because thousands of vector patches open slowly in a PDF viewer.
SURFACE: dict[str, Any] = {
    "rstride": 1,
    "cstride": 1,
    "linewidth": 0.45,
    "antialiased": True,
    "rasterized": True,
    "shade": False,
    "zorder": 1,
    "clip_on": False,
}


def draw() -> Figure:
    """Draw both surfaces in perspective."""
    figure = Figure(figsize=(7, 3.4))
    # Placed by hand, because the layout engine reserves a square for a panel in perspective.
    figure.set_layout_engine("none")
    left = figure.add_axes((0.02, 0.12, 0.52, 0.75), projection="3d", computed_zorder=False)
    right = figure.add_axes((0.59, 0.15, 0.38, 0.77), projection="3d", computed_zorder=False)
    titles = {
        "a": (0.02, "ruled surfaces that form a corridor"),
        "b": (0.59, "several corridors"),
    }
    for letter, (x, title) in titles.items():
        figure.text(x, 0.885, letter, weight="bold")
        figure.text(x + 0.025, 0.885, title)
    _draw_valley(left)
    _draw_folded(right)
    write_title(figure, "Corridors: regions where lines of steepest descent are straight")
    slopes = ", ".join(f"{c:g}" for c in FOLDED.c)
    write_caption(
        figure,
        [
            f"a: E = {VALLEY.c:g} · distance to the curve θ₂ = {CURVE.a:g} sin θ₁ at the bottom, "
            "where E = 0. Black: lines of steepest descent, which are normals of the curve.",
            f"b: planes of slopes {slopes}, joined at creases. A line of steepest descent (red) "
            "bends only at creases, as light does.",
            "White: level lines of E, equidistant in a corridor. All axes have the same scale. "
            "Formulas, no runs.",
        ],
    )
    return figure


def _draw_valley(ax: Axes3D) -> None:
    s, u = torch.linspace(*S_RANGE, 201), torch.linspace(-MAX_U, MAX_U, 51)
    top = _valley_points(s[:, None], u[None, :])
    for edge in (top[-1], top[:, -1]):
        _draw_wall(ax, edge)
    _draw_surface(ax, top, HEIGHT(top[..., 2] / top[..., 2].max())[..., :3])
    for offset in torch.linspace(-MAX_U, MAX_U, 13):
        ax.plot(*_valley_points(s, offset).T, **LEVEL)
    for position in torch.linspace(*S_RANGE, 20)[1:-1]:
        ax.plot(*_valley_points(position, torch.tensor([-MAX_U, 0.0, MAX_U])).T, **LINE)
    _set_view(ax, top, elev=47, azim=-66, zoom=1.55)


def _valley_points(s: Tensor, u: Tensor) -> np.ndarray:
    """Points (θ₁, θ₂, E) of the valley, shape (..., 3)."""
    theta, energy = VALLEY.ruling(*torch.broadcast_tensors(s.double(), u.double()))
    return torch.cat([theta, energy[..., None]], dim=-1).numpy()


def _draw_folded(ax: Axes3D) -> None:
    x = torch.tensor([X_RANGE[0], 0.0, 1.0, 2.0, X_RANGE[1]])
    front = _level_line(0.0, x).clamp(min=0)  # the edge at y = 0, or where E = 0
    top = _folded_points(x[:, None], torch.stack([front, torch.full_like(x, MAX_Y)], dim=1))
    for edge in (top[0], top[:, 0]):
        _draw_wall(ax, edge)
    _draw_surface(ax, top, np.broadcast_to(TINTS[[0, 0, 1, 2, 2], None], top.shape))
    x = torch.linspace(*X_RANGE, 2001)  # fine, so that level lines end close to the edges
    for energy in np.arange(0.25, top[..., 2].max(), 0.25):
        y = _level_line(energy, x)
        shown = (y >= _level_line(0.0, x).clamp(min=0)) & (y <= MAX_Y)
        ax.plot(*_folded_points(x[shown], y[shown]).T, **LEVEL)
    for crease in (1.0, 2.0):
        ax.plot(*_folded_points(torch.tensor(crease), torch.tensor([0.0, MAX_Y])).T, **LINE)
    for y in np.linspace(0.6, START[1], 5)[:-1]:
        _draw_descent(ax, (START[0], y), LINE)
    _draw_descent(ax, START, LINE | {"color": RED, "linewidth": 1.8, "zorder": 4})
    _set_view(ax, top, elev=28, azim=-122, zoom=1.12)


def _folded_points(x: Tensor, y: Tensor) -> np.ndarray:
    """Points (θ₁, θ₂, E) of the folded planes, shape (..., 3)."""
    theta = torch.stack(torch.broadcast_tensors(x.double(), y.double()), dim=-1)
    return torch.cat([theta, FOLDED(theta)[..., None]], dim=-1).numpy()


def _level_line(energy: float, x: Tensor) -> Tensor:
    """y of the level line E = `energy`."""
    return (energy - FOLDED(torch.stack([x.double(), 0 * x.double()], dim=-1))) / FOLDED.p


def _draw_descent(ax: Axes3D, start: tuple[float, float], look: style.Look) -> None:
    """Draw a line of steepest descent from a dot at `start` to E = 0 or to the edge y = 0."""
    corners = _folded_points(*FOLDED.steepest_descent(torch.tensor(start, dtype=torch.float64)).T)
    for k in np.flatnonzero(corners[:, 1] < 0)[:1]:  # the first corner beyond the edge
        before, after = corners[k - 1], corners[k]
        share = before[1] / (before[1] - after[1])
        corners = np.vstack([corners[:k], before + (after - before) * share])
    ax.plot(*corners.T, solid_joinstyle="round", **look)
    ax.plot(*corners[:1].T, "o", markersize=2 * look["linewidth"], **look)


def _draw_wall(ax: Axes3D, edge: np.ndarray) -> None:
    """Draw the side of the block below an edge of shape (n, 3), down to E = 0."""
    sides = np.stack([edge, edge * [1, 1, 0]], axis=1)
    _draw_surface(ax, sides, np.broadcast_to(BLOCK, sides.shape))


def _draw_surface(ax: Axes3D, points: np.ndarray, colors: np.ndarray) -> None:
    """Draw the surface through `points` in `colors`, both of shape (n, m, 3), lit on both sides."""
    normals = np.cross(points[1:, 1:] - points[:-1, :-1], points[:-1, 1:] - points[1:, :-1])
    # A patch of a wall with height 0 has no normal.
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-12
    light = np.abs(normals @ SUN)[..., None] / np.linalg.norm(SUN)
    shaded = np.clip(colors[:-1, :-1] * (0.7 + 0.4 * light), 0, 1)
    ax.plot_surface(*np.moveaxis(points, -1, 0), facecolors=shaded, **SURFACE)


def _set_view(ax: Axes3D, points: np.ndarray, elev: float, azim: float, zoom: float) -> None:
    """Show all of `points` in perspective, with equal scales and without axes."""
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    low[2] = 0
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    ax.set_box_aspect(high - low, zoom=zoom)
    ax.set_proj_type("persp", focal_length=0.4)
    ax.view_init(elev=elev, azim=azim)
    ax.set_axis_off()
