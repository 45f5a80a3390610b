"""Interactive panels: they have the numbers, labels and colors of the picture."""

import json
import re

import numpy as np
import pytest
from figure_tables import DECAY, drawing
from matplotlib.figure import Figure

from clr.analysis.report import colors, interactive
from clr.analysis.report.plot_curves import plot_curves


def curves_of(folder, number, panel=0):
    return {curve.name: curve for curve in plot_curves(drawing(folder, number).axes[panel])}


def test_curves_have_the_numbers_of_the_picture(tables):
    curves = curves_of(tables, 2)
    assert list(curves) == ["SGD 0.01", "SGD 0.3", "SGD 1", "SGD 1 diverged", "SGD 0.1", "CLR"]
    for name, rate in (("CLR", None), ("SGD 0.1", 0.1)):
        points, first = curves[name].points, DECAY[rate] ** np.arange(6)
        assert np.array_equal(points["x"], np.arange(1, 7))
        assert points["mean"].tolist() == pytest.approx(3 * first)
        assert points["low"].tolist() == pytest.approx(first)
        assert points["high"].tolist() == pytest.approx(6 * first)
    assert "low" not in curves["SGD 0.3"].points


def test_the_other_rates_share_one_legend_entry(tables):
    curves = curves_of(tables, 2)
    assert curves["SGD 0.1"].label == "SGD, best rate 0.1"
    labels = {curves[name].label for name in ("SGD 0.3", "SGD 1", "SGD 1 diverged")}
    assert labels == {"SGD, other rates"}


def test_panels_are_drawn_as_in_the_picture(tables):
    drawn = drawing(tables, 2)
    left, right = interactive.panels(drawn, "figure2")
    assert (left.target, left.title, right.target) == ("figure2-1", "Training loss", "figure2-2")
    assert left.item["target_id"] == "figure2-1"
    text = json.dumps(left.item)
    low, high = drawn.axes[0].get_ylim()
    limits = (str(low), str(high))
    for part in (*limits, '"LogScale"', "step", "VArea", "HoverTool", "#0072b2", "#d55e00"):
        assert part in text
    legend = re.findall(r'"name": "LegendItem".*?"value": "([^"]+)"', text)
    assert legend == ["CLR", "SGD, best rate 0.1", "SGD, other rates"]


def test_levels_reach_from_edge_to_edge(tables):
    level = curves_of(tables, 4)["SGD, best rate 0.1"]
    assert level.points["mean"].tolist() == [0.1, 0.1]
    assert "low" not in level.points
    assert level.points["x"].tolist() == pytest.approx(drawing(tables, 4).axes[0].get_xlim())


def test_error_bars_are_read_back(tables):
    last = curves_of(tables, 6, panel=2)["CLR"]
    end = (1 + DECAY[None]) / 2 * DECAY[None] ** 4
    assert last.points["x"].tolist() == [64, 256]
    assert not last.filled
    assert last.points["low"].tolist() == pytest.approx([end, end])
    assert last.points["high"].tolist() == pytest.approx([6 * end, 6 * end])


def test_shared_labels_and_texts_in_a_panel_are_kept():
    figure = Figure()
    left, _ = figure.subplots(1, 2, sharey=True)
    left.set(ylabel="loss", xlabel="step (each point: mean of 3)", xlim=(0, 4), ylim=(0, 8))
    left.plot([1, 2], [3, 4], label="CLR")
    left.axhline(4)
    left.text(0.5, 4, "corridor", transform=left.get_yaxis_transform(), ha="right", va="bottom")
    first, second = (json.dumps(panel.item) for panel in interactive.panels(figure, "a"))
    assert '"loss"' in second
    assert '"text": "corridor"' in first
    position = re.search(r'"x": ([\d.]+), "y": ([\d.]+)}', first)
    assert (float(position[1]), float(position[2])) == pytest.approx((2, 4))
    assert "step @x" in first
    assert "_child" not in first  # Matplotlib's label of the unnamed level


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: ax.imshow([[0, 1]]),
        lambda ax: ax.contourf([[0, 1], [1, 2]]),
        lambda ax: ax.bar([1], [2]),
    ],
    ids=["image", "contours", "bars"],
)
def test_a_figure_with_other_contents_than_lines_has_no_panels(draw):
    figure = Figure()
    ax = figure.subplots()
    ax.plot([1, 2], [3, 4])
    assert len(interactive.panels(figure, "a")) == 1
    draw(ax)
    assert interactive.panels(figure, "a") == []


def test_a_surface_has_no_panels():
    figure = Figure()
    figure.add_subplot(projection="3d")
    assert interactive.panels(figure, "a") == []


def on_dark_contrast(color):
    return colors.contrast(color, colors.DARK_BACKGROUND)


@pytest.mark.parametrize("color", ["#00253f", "#222222", "#004c79"])
def test_a_color_without_contrast_on_a_dark_background_is_replaced(color):
    assert on_dark_contrast(color) < 3 < on_dark_contrast(colors.on_dark(color))


@pytest.mark.parametrize("color", ["#d55e00", "#0072b2"])
def test_a_color_with_contrast_on_a_dark_background_is_kept(color):
    assert colors.on_dark(color) == color


def test_grays_stay_behind_the_colors_and_keep_their_order():
    light, dark = (on_dark_contrast(colors.on_dark(color)) for color in ("#cccccc", "#808080"))
    assert on_dark_contrast("#cccccc") > light > dark > 3


def test_black_and_white_have_the_largest_contrast():
    assert colors.contrast("#ffffff", "#000000") == pytest.approx(21)
