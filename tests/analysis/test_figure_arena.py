"""Figures of the arena on tables with a known answer."""

import numpy as np
import pytest
from arena_tables import run_id, write_arena
from figure_tables import drawing, legend, line, texts, title
from matplotlib.figure import Figure

from clr.analysis import tables
from clr.analysis.figures import draw, picture_files, style
from clr.analysis.figures.arena_panels import PER_GROUP


def falling(factor, seeds=(0, 1, 2), diverge=False):
    """Losses of nine steps from 1; seeds multiply them by 1, 2 and 3."""
    losses = {seed: [(1 + seed) * factor**step for step in range(9)] for seed in seeds}
    return {seed: [*own[:-1], None] for seed, own in losses.items()} if diverge else losses


METHODS = {
    "clr": {None: falling(0.7)},
    "sgd": {0.1: falling(0.8), 0.3: falling(0.5), 1.0: falling(0.5, diverge=True)},
    "alpha": {1: falling(0.4), 2: falling(0.9)},
    "lost": {1: falling(0.9, diverge=True), 2: falling(0.9, diverge=True)},
    **{f"method {i}": {None: falling(0.6)} for i in range(PER_GROUP)},
}
GRID = {"key": "c", "values": [1, 2], "default": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    methods = {32: METHODS, 64: METHODS}
    missing = [run_id(64, "method 0", None, 2)]
    folder = tmp_path_factory.mktemp("drawn") / "arena"
    return write_arena(folder, methods, {"alpha": GRID, "lost": GRID}, missing)


def further(folder, name) -> Figure:
    with style.applied():
        return draw.FURTHER["arena"][name](tables.read(folder)["arena"])


def test_every_column_has_clr_and_the_baseline(folder):
    figure = drawing(folder, "arena")
    top = figure.axes[:2]
    assert legend(top[0]) == ["CLR", "SGD", "method 0", "lost", "alpha"]
    assert legend(top[1]) == ["CLR", "SGD", "method 3", "method 2", "method 1"]
    assert len(figure.axes) == 2 * 2 * 2  # settings × loss and accuracy × columns
    assert "1 of 72 runs missing" in title(figure)


def test_columns_differ_by_one_method_at_most(tmp_path):
    others = {f"method {i}": {None: falling(0.6)} for i in range(2 * PER_GROUP + 1)}
    methods = {"clr": METHODS["clr"], "sgd": METHODS["sgd"], **others}
    figure = drawing(write_arena(tmp_path / "arena", {32: methods}, {}), "arena")
    assert [len(legend(ax)) - 2 for ax in figure.axes[:3]] == [3, 3, 3]


def test_curves_are_those_of_the_tuned_values(folder):
    figure = drawing(folder, "arena")
    steps = np.arange(9)
    for factor, label in ((0.7, "CLR"), (0.5, "SGD"), (0.4, "alpha")):
        drawn = line(figure.axes[0], label)
        assert np.allclose(drawn.get_xdata(), steps + 1)
        assert np.allclose(drawn.get_ydata(), 2 * factor**steps)  # mean of 1, 2 and 3
    assert line(figure.axes[0], "lost diverged").get_marker() == "x"
    assert "Tuned values: SGD lr 0.3; alpha c 1." in texts(figure)
    assert "lost has a diverged run at every value (batch size 32, 64)." in texts(figure)
    assert "Scaled-down protocol" in texts(figure)
    assert "flatters tuned methods slightly" in texts(figure)


def test_the_curves_over_time_have_the_seconds_of_the_fastest_seed(folder):
    drawn = line(further(folder, "arena_time").axes[0], "CLR")
    assert np.allclose(drawn.get_xdata(), 0.5 * np.arange(1, 10))


def test_the_sensitivity_is_over_the_tuned_baseline(folder):
    figure = further(folder, "arena_sensitivity")
    panels = {ax.get_title(): ax for ax in figure.axes}
    assert {"SGD", "alpha", "lost"} <= set(panels)
    drawn = line(panels["SGD"], "batch size 32")
    assert np.allclose(drawn.get_xdata(), [0.1, 0.3])
    assert np.allclose(drawn.get_ydata(), [(0.8 / 0.5) ** 8, 1])
    assert [own.get_xdata()[0] for own in panels["lost"].lines if own.get_marker() == "x"] == [
        *(1, 2),
        *(1, 2),
    ]
    assert "Without a grid: CLR; method 0" in texts(figure)


def test_values_beyond_the_grid_are_hollow_points_of_the_same_curve(tmp_path):
    curves = {value: falling(0.5) for value in (0.1, 1, 2, 9, 50, 80)}
    methods = {"clr": METHODS["clr"], "sgd": METHODS["sgd"], "alpha": curves}
    figure = further(
        write_arena(tmp_path / "arena", {32: methods}, {"alpha": GRID}), "arena_sensitivity"
    )
    ax = next(ax for ax in figure.axes if ax.get_title() == "alpha")
    drawn = line(ax, "batch size 32")
    assert drawn.get_xdata().tolist() == [0.1, 1, 2, 9, 50, 80]
    assert drawn.get_markevery() == [1, 2]
    (hollow,) = [own for own in ax.lines if own.get_markerfacecolor() == "white"]
    assert hollow.get_xdata().tolist() == [0.1, 9, 50, 80]
    assert not {2, 9, 50, 80} & set(ax.get_xticks())  # decades: six labels would overlap
    assert "Hollow points: values outside the grid" in texts(figure)


def test_the_profiles_are_step_functions_up_to_the_edge(folder):
    figure = further(folder, "arena_profiles")
    tuned = figure.axes[:2]
    best = line(tuned[0], "alpha")
    assert np.allclose(best.get_ydata(), 1)  # the fastest to every target
    assert line(tuned[1], "CLR").get_ydata()[0] < 1
    assert "6 pairs of setting and seed, each with 3 target losses: 0.5, 0.75, 0.9" in texts(figure)


def test_the_race_leaves_out_the_baseline(folder):
    figure = further(folder, "arena_race")
    assert "SGD" not in legend(figure.axes[0])
    drawn = line(figure.axes[0], "alpha")
    assert (drawn.get_ydata() <= 1).all()
    assert "SGD" not in [own.get_label() for own in figure.axes[0].lines]


def test_all_pictures_are_written(folder):
    paths, _ = picture_files.draw_all(folder)
    names = {path.stem for path in paths if path.suffix == ".png"}
    assert names == {"figure1", "figure1_paths", "arena", *draw.FURTHER["arena"]}
