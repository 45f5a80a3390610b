"""Figure 1: a, ruled surfaces that form a corridor; b, a line of steepest descent down several corridors.

It needs no runs: the surfaces are formulas, and the lines on them straight ones.
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
from clr.geometry import Ruled, Sine, Strips

CURVE = Sine(0.8)
VALLEY = Ruled(0.6, CURVE)
ALONG, WIDTH = (-0.9, 6.6), 1.12  # s from to; u on both sides, up to shortly before CURVE.reach
# Lines of slopes 1.2, 2 and 3.5 with p = 1 would be the same ones; these slopes fit in one scale for all axes.
FOLDED = Strips(0.4, (0.48, 0.8, 1.4))
START, WEST, EAST, NORTH = (
    (2.75, 3.0),
    -0.6,
    2.95,
    3.2,
)  # where the red line begins; x from to; y to

RED = "#D0021B"
HEIGHT = LinearSegmentedColormap.from_list("height", ["#0F5C94", "#5BA8D6", "#CFE6EE"])
TINTS = np.array([to_rgb(color) for color in ("#7DB8DC", "#EFC36F", "#8CC08A")])
BLOCK = np.array(to_rgb("#DEDEDA"))
SUN = np.array([0.35, -0.45, 0.82])  # where the light comes from
LINE: dict[str, Any] = {"color": style.INK, "linewidth": 0.6, "zorder": 3, "clip_on": False}
LEVEL: dict[str, Any] = {
    "color": "white",
    "linewidth": 0.45,
    "alpha": 0.65,
    "zorder": 2,
    "clip_on": False,
}


def draw() -> Figure:
    figure = Figure(figsize=(7, 3.4))
    # By hand: the common layout takes a picture in perspective for a square, and leaves room that it does not fill.
    figure.set_layout_engine("none")
    titles, places = (
        ("ruled surfaces that form a corridor", "several corridors"),
        ((0.02, 0.12, 0.52, 0.75), (0.59, 0.15, 0.38, 0.77)),
    )
    for letter, title, (x, _, _, _) in zip("ab", titles, places, strict=True):
        figure.text(x, 0.885, letter, weight="bold")
        figure.text(x + 0.025, 0.885, title)
    left, right = (
        figure.add_axes(place, projection="3d", computed_zorder=False) for place in places
    )
    _valley(left)
    _folded(right)
    style.write_above(figure, "Corridors: where the lines of steepest descent are straight")
    slopes = ", ".join(f"{c:g}" for c in FOLDED.c)
    style.write_below(
        figure,
        [
            f"a: E = {VALLEY.c:g} · distance to the curve θ₂ = {CURVE.a:g} sin θ₁, at the bottom, where E = 0. "
            "Black: lines of steepest descent, the normals of the curve.",
            f"b: planes of slopes {slopes}, glued along creases. A line of steepest descent (red: one) "
            "is straight in each, and bends as light does.",
            "White: level lines of E, at equal distances in a corridor. All axes have one scale. Formulas, no runs.",
        ],
    )
    return figure


def _valley(ax: Axes3D) -> None:
    s, u = torch.linspace(*ALONG, 201), torch.linspace(-WIDTH, WIDTH, 51)
    top = _over(s[:, None], u[None, :])
    for edge in (top[-1], top[:, -1]):
        _wall(ax, edge)
    _sheet(ax, top, HEIGHT(top[..., 2] / top[..., 2].max())[..., :3])
    for k in torch.linspace(-WIDTH, WIDTH, 13):
        ax.plot(*_over(s, k).T, **LEVEL)
    for k in torch.linspace(*ALONG, 20)[1:-1]:
        ax.plot(*_over(k, torch.tensor([-WIDTH, 0.0, WIDTH])).T, **LINE)
    _frame(ax, top, elev=47, azim=-66, zoom=1.55)


def _over(s: Tensor, u: Tensor) -> np.ndarray:
    """Points (θ₁, θ₂, E) of the valley, shape (..., 3)."""
    theta, energy = VALLEY.ruling(*torch.broadcast_tensors(s.double(), u.double()))
    return torch.cat([theta, energy[..., None]], dim=-1).numpy()


def _folded(ax: Axes3D) -> None:
    x = torch.tensor([WEST, 0.0, 1.0, 2.0, EAST])
    south = _level(0.0, x).clamp(min=0)  # the edge in front: y = 0, or where E = 0
    top = _points(x[:, None], torch.stack([south, torch.full_like(x, NORTH)], dim=1))
    for edge in (top[0], top[:, 0]):
        _wall(ax, edge)
    _sheet(ax, top, np.broadcast_to(TINTS[[0, 0, 1, 2, 2], None], top.shape))
    x = torch.linspace(WEST, EAST, 2001)  # fine, so that level lines end near enough to the edges
    for energy in np.arange(0.25, top[..., 2].max(), 0.25):
        y = _level(energy, x)
        shown = (y >= _level(0.0, x).clamp(min=0)) & (y <= NORTH)
        ax.plot(*_points(x[shown], y[shown]).T, **LEVEL)
    for crease in (1.0, 2.0):
        ax.plot(*_points(torch.tensor(crease), torch.tensor([0.0, NORTH])).T, **LINE)
    for y in np.linspace(0.6, START[1], 5)[:-1]:
        _descent(ax, (START[0], y), LINE)
    _descent(ax, START, LINE | {"color": RED, "linewidth": 1.8, "zorder": 4})
    _frame(ax, top, elev=28, azim=-122, zoom=1.12)


def _points(x: Tensor, y: Tensor) -> np.ndarray:
    """Points (θ₁, θ₂, E) over the corridors, shape (..., 3)."""
    theta = torch.stack(torch.broadcast_tensors(x.double(), y.double()), dim=-1)
    return torch.cat([theta, FOLDED(theta)[..., None]], dim=-1).numpy()


def _level(energy: float, x: Tensor) -> Tensor:
    """y of the level line at E = `energy`."""
    return (energy - FOLDED(torch.stack([x.double(), 0 * x.double()], dim=-1))) / FOLDED.p


def _descent(ax: Axes3D, start: tuple[float, float], look: dict[str, Any]) -> None:
    """A line of steepest descent with a dot where it begins, to the end or to the edge at y = 0."""
    corners = _points(*FOLDED.steepest_descent(torch.tensor(start, dtype=torch.float64)).T)
    beyond = np.flatnonzero(corners[:, 1] < 0)[:1]
    for k in beyond:
        before, after = corners[k - 1], corners[k]
        corners = np.vstack(
            [corners[:k], before + (after - before) * before[1] / (before[1] - after[1])]
        )
    ax.plot(*corners.T, solid_joinstyle="round", **look)
    ax.plot(*corners[:1].T, "o", markersize=2 * look["linewidth"], **look)


def _wall(ax: Axes3D, edge: np.ndarray) -> None:
    """The side of the block that the surface is the top of: from an edge, shape (n, 3), down to E = 0."""
    _sheet(
        ax, np.stack([edge, edge * [1, 1, 0]], axis=1), np.broadcast_to(BLOCK, (len(edge), 2, 3))
    )


def _sheet(ax: Axes3D, points: np.ndarray, colors: np.ndarray) -> None:
    """The surface through `points` in `colors`, both of shape (n, m, 3), lit by the sun on both of its sides."""
    normals = np.cross(points[1:, 1:] - points[:-1, :-1], points[:-1, 1:] - points[1:, :-1])
    normals /= (
        np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-12
    )  # a wall's patch of height 0 has none
    light = np.abs(normals @ SUN)[..., None] / np.linalg.norm(SUN)
    shaded = np.clip(colors[:-1, :-1] * (0.7 + 0.4 * light), 0, 1)
    # Thin edges in the patches' own colours close the seams that smoothing leaves between them. As pixels in the PDF,
    # for thousands of patches are slow to open.
    look: dict[str, Any] = {
        "rstride": 1,
        "cstride": 1,
        "linewidth": 0.45,
        "antialiased": True,
        "rasterized": True,
    }
    ax.plot_surface(
        *np.moveaxis(points, -1, 0), facecolors=shaded, shade=False, zorder=1, clip_on=False, **look
    )


def _frame(ax: Axes3D, points: np.ndarray, elev: float, azim: float, zoom: float) -> None:
    """One scale for all axes, in perspective; they are not drawn, for their numbers say nothing here."""
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    low[2] = 0
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    ax.set_box_aspect(high - low, zoom=zoom)
    ax.set_proj_type("persp", focal_length=0.4)
    ax.view_init(elev=elev, azim=azim)
    ax.set_axis_off()
