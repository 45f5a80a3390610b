"""Figure 1: that its lines are those of steepest descent, and its paths those of the optimizers."""

import itertools

import numpy as np
import pytest
import torch
from figure_tables import line, luminance, texts
from geometry_cases import clr_step, tensor
from matplotlib.colors import to_hex

from clr.analysis.figures import figure1
from clr.analysis.figures import figure1_paths as paths
from clr.geometry import gradient


@pytest.fixture(scope="module")
def panels():
    return figure1.draw().axes


def lines(ax, color):
    return [
        np.array(drawn.get_data_3d()).T
        for drawn in ax.lines
        if to_hex(drawn.get_color()).upper() == color
    ]


def inside(corners):
    """Points along a line, shape (n, 3), but not at its corners."""
    parts = np.linspace(0, 1, 7)[1:-1, None]
    return np.vstack([a + parts * (b - a) for a, b in itertools.pairwise(corners)])


def test_a_shows_straight_lines_of_steepest_descent_from_both_sides_to_the_curve(panels):
    drawn = lines(panels[0], "#222222")
    assert len(drawn) == 18
    for left, bottom, right in drawn:
        assert bottom[1] == pytest.approx(0.8 * np.sin(bottom[0]), abs=1e-6) and bottom[2] == 0
        for side in (left, right):
            way = side - bottom
            assert side[2] == pytest.approx(0.6 * 1.12, rel=1e-6)  # all have one slope
            assert np.linalg.norm(way[:2]) == pytest.approx(1.12, rel=1e-6)
            points = inside(np.stack([side, bottom]))
            assert figure1.VALLEY(torch.tensor(points[:, :2])).numpy() == pytest.approx(
                points[:, 2], abs=1e-6
            )
            gradients = gradient(figure1.VALLEY, torch.tensor(points[:, :2])).numpy()
            assert gradients == pytest.approx(
                np.tile(0.6 * way[:2] / 1.12, (len(points), 1)), abs=1e-5
            )


def test_b_has_one_red_line_of_steepest_descent_that_bends_at_both_creases(panels):
    (red,) = lines(panels[1], figure1.RED)[::2]  # the other is the dot at its start
    assert (
        red[1:3, 0].tolist() == [2, 1]
        and len(red) == 4
        and red[-1, 2] == pytest.approx(0, abs=1e-9)
    )
    points = inside(red)
    assert figure1.FOLDED(torch.tensor(points[:, :2])).numpy() == pytest.approx(points[:, 2])
    gradients = gradient(figure1.FOLDED, torch.tensor(points[:, :2])).numpy()
    ways = np.repeat(np.diff(red[:, :2], axis=0), len(points) // 3, axis=0)
    assert np.cross(
        np.pad(gradients, ((0, 0), (0, 1))), np.pad(ways, ((0, 0), (0, 1)))
    ) == pytest.approx(0, abs=1e-9)
    assert (np.sum(gradients * ways, axis=1) < 0).all()
    # Its way in the plane is that from which the slopes were taken, 1.2, 2 and 3.5 with p = 1
    assert np.linalg.norm(gradients, axis=1)[[0, 5, 10]] * 2.5 == pytest.approx([3.5, 2, 1.2])


@pytest.mark.parametrize("i", [0, 1])
def test_all_axes_have_one_scale_and_show_the_whole_surface(panels, i):
    ax = panels[i]
    spans = np.diff([ax.get_xlim(), ax.get_ylim(), ax.get_zlim()])[:, 0]
    assert spans / ax._box_aspect == pytest.approx(np.full(3, spans[0] / ax._box_aspect[0]))
    points = np.vstack([np.array(drawn.get_data_3d()).T for drawn in ax.lines])
    for axis, (low, high) in enumerate((ax.get_xlim(), ax.get_ylim(), ax.get_zlim())):
        assert low - 1e-6 <= points[:, axis].min() and points[:, axis].max() <= high + 1e-6


@pytest.fixture(scope="module")
def columns():
    return list(zip(paths.PANELS, *np.reshape(paths.draw().axes, (2, 3)), strict=True))


def test_every_panel_has_the_flow_three_rates_and_clr(columns):
    for panel, above, below in columns:
        names = ["gradient flow", *(f"GD, h = {rate:g}" for rate in panel.rates), "CLR"]
        assert [text.get_text() for text in below.get_legend().get_texts()] == names
        for name in names:
            points, (times, losses) = line(above, name).get_xydata(), line(below, name).get_data()
            assert tuple(points[0]) == panel.start and times[0] == 0
            assert panel.surface(torch.tensor(points)).numpy() == pytest.approx(losses)
        assert len({line(above, name).get_marker() for name in names}) == 5
    assert [above.get_title() for _, above, _ in columns] == [
        "one corridor: κ = 0",
        "several corridors: κ = 0",
        "a bowl, no corridor: κ = 0.66",
    ]


def test_clrs_path_is_that_of_the_optimizer_and_gds_that_of_its_rate(columns):
    for panel, above, below in columns:
        points, times = line(above, "CLR").get_xydata(), line(below, "CLR").get_xdata()
        for before, after in itertools.pairwise(points):
            assert clr_step(panel.surface, tensor(*before)).numpy() == pytest.approx(after)
        for rate in panel.rates:
            points, times = (
                line(above, f"GD, h = {rate:g}").get_xydata(),
                line(below, f"GD, h = {rate:g}").get_xdata(),
            )
            assert np.diff(times) == pytest.approx(rate) and len(points) > 2
            steps = -rate * gradient(panel.surface, torch.tensor(points[:-1])).numpy()
            assert np.diff(points, axis=0) == pytest.approx(steps)


def test_in_the_corridor_all_are_on_one_line_and_clr_ends_at_zero_after_one_step(columns):
    _, above, below = columns[0]
    flow, way = line(above, "gradient flow").get_xydata(), line(above, "CLR").get_xydata()
    assert len(way) == 2 and line(below, "CLR").get_ydata()[1] == pytest.approx(0, abs=1e-9)
    for name in ("gradient flow", *(f"GD, h = {rate:g}" for rate in paths.PANELS[0].rates)):
        off = line(above, name).get_xydata() - way[0]
        assert off[:, 0] * (way[1] - way[0])[1] - off[:, 1] * (way[1] - way[0])[0] == pytest.approx(
            0, abs=1e-8
        )
    assert flow[-1] == pytest.approx(way[1], abs=0.01)
    times, losses = line(below, "gradient flow").get_data()
    assert np.diff(losses) / np.diff(times) == pytest.approx(-1)


def test_elsewhere_the_paths_part_the_more_the_larger_the_rate(columns):
    for panel, above, _ in columns[1:]:
        flow = line(above, "gradient flow").get_xydata()
        gaps = []
        for rate in panel.rates:
            points = line(above, f"GD, h = {rate:g}").get_xydata()
            gaps.append(np.linalg.norm(points[:, None] - flow, axis=-1).min(axis=1).max())
        assert 0.01 < gaps[0] < gaps[1] < gaps[2]


def test_the_pictures_say_that_they_show_formulas(columns):
    for figure in (figure1.draw(), columns[0][1].figure):
        assert "ormulas, no runs." in texts(figure)


def test_the_paths_can_be_told_apart_in_grey(columns):
    above = columns[0][1]
    greys = sorted(
        luminance(drawn) for drawn in above.lines if not drawn.get_label().startswith("_")
    )
    assert min(np.diff(greys)) > 0.03
