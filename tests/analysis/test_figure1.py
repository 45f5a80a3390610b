"""Figure 1: its lines are lines of steepest descent, and its paths those of the optimizers."""

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
def figure():
    return figure1.draw()


@pytest.fixture(scope="module")
def panels(figure):
    return figure.axes


def lines(ax, color):
    """Points of each line of a color, shape (n, 3)."""
    return [
        np.array(drawn.get_data_3d()).T
        for drawn in ax.lines
        if to_hex(drawn.get_color()).upper() == color
    ]


def inner_points(corners):
    """Points between the corners of a line, shape (n, 3)."""
    shares = np.linspace(0, 1, 7)[1:-1, None]
    return np.vstack([a + shares * (b - a) for a, b in itertools.pairwise(corners)])


def test_panel_a_shows_straight_lines_of_steepest_descent_on_both_sides_of_the_curve(panels):
    drawn = lines(panels[0], "#222222")
    assert len(drawn) == 18
    for left, bottom, right in drawn:
        assert bottom[1] == pytest.approx(0.8 * np.sin(bottom[0]), abs=1e-6)
        assert bottom[2] == 0
        for side in (left, right):
            offset = side - bottom
            assert side[2] == pytest.approx(0.6 * 1.12, rel=1e-6)  # all have the same slope
            assert np.linalg.norm(offset[:2]) == pytest.approx(1.12, rel=1e-6)
            points = inner_points(np.stack([side, bottom]))
            theta = torch.tensor(points[:, :2])
            assert figure1.VALLEY(theta).numpy() == pytest.approx(points[:, 2], abs=1e-6)
            expected = np.tile(0.6 * offset[:2] / 1.12, (len(points), 1))
            assert gradient(figure1.VALLEY, theta).numpy() == pytest.approx(expected, abs=1e-5)


def test_panel_b_has_one_red_line_of_steepest_descent_that_bends_at_both_creases(panels):
    red, _ = lines(panels[1], figure1.RED)  # the second is the dot at its start
    assert len(red) == 4
    assert red[1:3, 0].tolist() == [2, 1]
    assert red[-1, 2] == pytest.approx(0, abs=1e-9)
    points = inner_points(red)
    theta = torch.tensor(points[:, :2])
    assert figure1.FOLDED(theta).numpy() == pytest.approx(points[:, 2])
    gradients = gradient(figure1.FOLDED, theta).numpy()
    directions = np.repeat(np.diff(red[:, :2], axis=0), len(points) // 3, axis=0)
    cross = gradients[:, 0] * directions[:, 1] - gradients[:, 1] * directions[:, 0]
    assert cross == pytest.approx(0, abs=1e-9)
    assert (np.sum(gradients * directions, axis=1) < 0).all()
    # In the plane its direction is that of slopes 1.2, 2 and 3.5 with p = 1.
    assert np.linalg.norm(gradients, axis=1)[[0, 5, 10]] * 2.5 == pytest.approx([3.5, 2, 1.2])


@pytest.mark.parametrize("i", [0, 1])
def test_all_axes_have_the_same_scale_and_show_all_lines(panels, i):
    ax = panels[i]
    limits = (ax.get_xlim(), ax.get_ylim(), ax.get_zlim())
    spans = np.diff(limits)[:, 0]
    assert spans / ax._box_aspect == pytest.approx(np.full(3, spans[0] / ax._box_aspect[0]))
    points = np.vstack([np.array(drawn.get_data_3d()).T for drawn in ax.lines])
    for axis, (low, high) in enumerate(limits):
        assert low - 1e-6 <= points[:, axis].min()
        assert points[:, axis].max() <= high + 1e-6


@pytest.fixture(scope="module")
def columns():
    """Panel, upper axes and lower axes of each column of the paths."""
    return list(zip(paths.PANELS, *np.reshape(paths.draw().axes, (2, 3)), strict=True))


def test_each_panel_has_the_flow_three_fixed_rates_and_clr(columns):
    for panel, above, below in columns:
        names = ["gradient flow", *(f"GD, h = {rate:g}" for rate in panel.rates), "CLR"]
        assert [text.get_text() for text in below.get_legend().get_texts()] == names
        for name in names:
            points, (times, losses) = line(above, name).get_xydata(), line(below, name).get_data()
            assert tuple(points[0]) == panel.start
            assert times[0] == 0
            assert panel.surface(torch.tensor(points)).numpy() == pytest.approx(losses)
        assert len({line(above, name).get_marker() for name in names}) == 5


def test_the_titles_have_kappa_at_the_start(columns):
    assert [above.get_title() for _, above, _ in columns] == [
        "one corridor: κ = 0",
        "several corridors: κ = 0",
        "a bowl, no corridor: κ = 0.66",
    ]


def test_the_path_of_clr_is_that_of_the_optimizer(columns):
    for panel, above, _ in columns:
        for before, after in itertools.pairwise(line(above, "CLR").get_xydata()):
            assert clr_step(panel.surface, tensor(*before)).numpy() == pytest.approx(after)


def test_the_paths_of_gradient_descent_have_their_fixed_rates(columns):
    for panel, above, below in columns:
        for rate in panel.rates:
            name = f"GD, h = {rate:g}"
            points, times = line(above, name).get_xydata(), line(below, name).get_xdata()
            assert len(points) > 2
            assert np.diff(times) == pytest.approx(rate)
            steps = -rate * gradient(panel.surface, torch.tensor(points[:-1])).numpy()
            assert np.diff(points, axis=0) == pytest.approx(steps)


def test_in_a_corridor_all_paths_lie_on_one_line_and_clr_reaches_zero_in_one_step(columns):
    panel, above, below = columns[0]
    start, end = line(above, "CLR").get_xydata()
    assert line(below, "CLR").get_ydata()[1] == pytest.approx(0, abs=1e-9)
    direction = end - start
    for name in ("gradient flow", *(f"GD, h = {rate:g}" for rate in panel.rates)):
        offsets = line(above, name).get_xydata() - start
        cross = offsets[:, 0] * direction[1] - offsets[:, 1] * direction[0]
        assert cross == pytest.approx(0, abs=1e-8), name
    assert line(above, "gradient flow").get_xydata()[-1] == pytest.approx(end, abs=0.01)
    times, losses = line(below, "gradient flow").get_data()
    assert np.diff(losses) / np.diff(times) == pytest.approx(-1)


def test_outside_a_single_corridor_larger_rates_leave_the_flow_further(columns):
    for panel, above, _ in columns[1:]:
        flow = line(above, "gradient flow").get_xydata()
        gaps = []
        for rate in panel.rates:
            points = line(above, f"GD, h = {rate:g}").get_xydata()
            gaps.append(np.linalg.norm(points[:, None] - flow, axis=-1).min(axis=1).max())
        assert 0.01 < gaps[0] < gaps[1] < gaps[2]


def test_the_captions_say_that_the_figures_show_formulas(figure, columns):
    for drawn in (figure, columns[0][1].figure):
        assert "Formulas, no runs." in texts(drawn)


def test_the_paths_can_be_distinguished_in_gray_print(columns):
    _, above, _ = columns[0]
    named = [drawn for drawn in above.lines if not drawn.get_label().startswith("_")]
    assert min(np.diff(sorted(luminance(drawn) for drawn in named))) > 0.03
