"""Figures 8 and 9: the runs of other figures, on other data or with another model."""

import numpy as np
import pytest
from figure_tables import (
    FACTOR,
    STEPS_PER_EPOCH,
    assert_curve,
    drawing,
    edit_parquet,
    edit_runs,
    legend,
    line,
    texts,
    write,
)

STEPS = np.arange(1, 7)


def test_figure_8_is_figure_6_with_another_model(tmp_path):
    edit_runs(write(tmp_path), lambda runs: runs["batch_size"] > 0, model="resnet50")
    eight, six = drawing(tmp_path, 8), drawing(tmp_path, 6)
    assert texts(eight) == texts(six)
    assert "ResNet-50 · batch size 64, 256" in texts(eight)
    assert [ax.get_title() for ax in eight.axes] == [ax.get_title() for ax in six.axes]
    for ax, other in zip(eight.axes, six.axes, strict=True):
        points = [drawn.get_xydata().tolist() for drawn in ax.lines]
        assert points == [drawn.get_xydata().tolist() for drawn in other.lines]


@pytest.mark.parametrize(
    ("batch_sizes", "rows", "columns"), [(1, 1, 2), (2, 1, 3), (3, 2, 2), (4, 2, 3), (5, 2, 3)]
)
def test_the_panels_of_figures_6_and_8_fill_their_rows(tmp_path, batch_sizes, rows, columns):
    sizes = [16 * 2**i for i in range(batch_sizes)]
    figure = drawing(write(tmp_path, batch_sizes=sizes, rates=(None, 0.1)), 8)
    grid = figure.axes[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)
    assert len(figure.axes) == batch_sizes + 1


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    """Figure 9 of CLR on CIFAR-10 at two batch sizes, and capped on ImageNet at a third."""
    folder = write(tmp_path_factory.mktemp("nine"), batch_sizes=(64, 128, 256), rates=(None,))
    imagenet = {"dataset": "imagenet", "data_label": "ImageNet", "model": "resnet50", "max_lr": 10}
    edit_runs(folder, lambda runs: runs["batch_size"] == 256, **imagenet)
    return drawing(folder, 9)


def test_figure_9_has_a_panel_for_each_data_set_and_a_curve_for_each_batch_size(figure):
    cifar, imagenet = figure.axes
    assert cifar.get_title() == "CIFAR-10, 5,000 images\nResNet-18"
    assert imagenet.get_title() == "ImageNet\nResNet-50"
    for ax, size in ((cifar, 64), (cifar, 128), (imagenet, 256)):
        label = f"CLR, batch size {size}"
        assert_curve(ax, label, label, STEPS / STEPS_PER_EPOCH, 0.01 * STEPS)
        assert ax.get_yscale() == "log"
    assert legend(cifar) == ["CLR, batch size 64", "CLR, batch size 128"]
    small, large = cifar.lines[::-1]
    assert small.get_color() != large.get_color()
    assert small.get_linestyle() != large.get_linestyle()


def test_figure_9_draws_the_cap_only_where_there_is_one(figure):
    cifar, imagenet = figure.axes
    assert set(line(imagenet, "cap: 10").get_ydata()) == {10}
    assert imagenet.get_ylim()[1] > 10
    assert legend(imagenet) == ["CLR, batch size 256", "cap: 10"]
    assert len(cifar.lines) == 2
    assert cifar.get_ylim()[1] < 10


def test_without_a_cap_there_is_space_for_the_legend_above_the_curves(figure):
    cifar, _ = figure.axes
    low, high = np.log(cifar.get_ylim())
    top_of_band = 0.36  # of step 6
    assert (np.log(top_of_band) - low) / (high - low) < 0.8


def test_one_step_with_a_tiny_gradient_does_not_change_the_medians_of_figure_9(tmp_path):
    def spike(steps):
        return steps.assign(learning_rate=steps["learning_rate"].mask(steps["step"] == 7, 1e9))

    edit_parquet(write(tmp_path, rates=(None,), epochs=125), "steps", spike)
    figure = drawing(tmp_path, 9)
    second = line(figure.axes[0], "CLR, batch size 64").get_xydata()[1]
    # 250 steps make 42 points. The median of steps 7 to 12, with the spike at 7, is that of 10.5.
    mean_factor = np.mean(list(FACTOR.values()))
    assert second == pytest.approx([9.5 / STEPS_PER_EPOCH, 0.01 * 10.5 * mean_factor])
    assert "the median over about 1/50 of training" in texts(figure)
