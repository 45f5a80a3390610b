"""Figures 8 and 9, whose runs are those of other figures on other data or with another network."""

import numpy as np
import pandas as pd
import pytest
from figure_tables import (
    FACTOR,
    STEPS_PER_EPOCH,
    band,
    drawing,
    edit_runs,
    legend,
    line,
    texts,
    write,
)


def test_figure_8_is_figure_6_with_another_model(tmp_path):
    edit_runs(write(tmp_path), lambda runs: runs["batch_size"] > 0, model="resnet50")
    eight, six = drawing(tmp_path, 8), drawing(tmp_path, 6)
    assert "ResNet-50 · batch size 64, 256" in texts(eight) == texts(six)
    assert [ax.get_title() for ax in eight.axes][2] == "last epoch" and len(eight.axes) == 3
    for ax, other in zip(eight.axes, six.axes, strict=True):
        assert [x.get_xydata().tolist() for x in ax.lines] == [
            x.get_xydata().tolist() for x in other.lines
        ]


@pytest.mark.parametrize(
    ("batch_sizes", "rows", "columns"), [(1, 1, 2), (2, 1, 3), (3, 2, 2), (4, 2, 3), (5, 2, 3)]
)
def test_the_panels_of_figures_6_and_8_fill_their_rows(tmp_path, batch_sizes, rows, columns):
    sizes = [16 * 2**i for i in range(batch_sizes)]
    figure = drawing(write(tmp_path, batch_sizes=sizes, rates=(None, 0.1)), 8)
    grid = figure.axes[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns) and len(figure.axes) == batch_sizes + 1


def with_imagenet(folder):
    """CLR on CIFAR-10 at three batch sizes; the largest of them on ImageNet instead, with ResNet-50 and the cap."""
    imagenet = {"dataset": "imagenet", "data_label": "ImageNet", "model": "resnet50", "max_lr": 10}
    edit_runs(
        write(folder, batch_sizes=(64, 128, 256), rates=(None,)),
        lambda r: r["batch_size"] == 256,
        **imagenet,
    )
    return folder


def test_figure_9_has_a_line_for_each_batch_size_and_a_panel_for_each_data_set(tmp_path):
    first, second = drawing(with_imagenet(tmp_path), 9).axes
    assert (
        first.get_title() == "CIFAR-10, 5,000 images\nResNet-18"
        and second.get_title() == "ImageNet\nResNet-50"
    )
    steps = np.arange(1, 7)
    for ax, size, i in (
        (first, 128, 0),
        (first, 64, 1),
        (second, 256, 0),
    ):  # the largest is drawn first
        drawn = line(ax, f"CLR, batch size {size}")
        assert drawn.get_xdata() == pytest.approx(steps / STEPS_PER_EPOCH)
        assert drawn.get_ydata() == pytest.approx(
            0.03 * steps
        )  # 3 is the mean of the seeds' factors
        low, high = band(ax, i)
        assert low == pytest.approx(0.01 * steps) and high == pytest.approx(0.06 * steps)
        assert ax.get_yscale() == "log"
    assert legend(first) == ["CLR, batch size 64", "CLR, batch size 128"]
    small, large = first.lines[::-1]
    assert small.get_color() != large.get_color() and small.get_linestyle() != large.get_linestyle()


def test_figure_9_draws_the_cap_where_there_is_one(tmp_path):
    first, second = drawing(with_imagenet(tmp_path), 9).axes
    assert (
        set(line(second, "cap of the rate: 10").get_ydata()) == {10} and second.get_ylim()[1] > 10
    )
    assert legend(second) == ["CLR, batch size 256", "cap of the rate: 10"]
    assert len(first.lines) == 2 and first.get_ylim()[1] < 10


def test_without_a_cap_the_legend_has_room_above_the_curves(tmp_path):
    first, _ = drawing(with_imagenet(tmp_path), 9).axes
    low, high = np.log(first.get_ylim())
    assert (np.log(0.36) - low) / (high - low) < 0.8  # the band of step 6


def test_the_medians_of_figure_9_forgive_a_step_with_a_tiny_gradient(tmp_path):
    write(tmp_path, rates=(None,), epochs=125)
    steps = pd.read_parquet(tmp_path / "steps.parquet")
    steps.loc[steps["step"] == 7, "learning_rate"] = 1e9
    steps.to_parquet(tmp_path / "steps.parquet")
    figure = drawing(tmp_path, 9)
    drawn = line(figure.axes[0], "CLR, batch size 64").get_xydata()
    # 250 steps make 50 points; the second is that of steps 6 to 10, whose median is now 9's
    assert drawn[1] == pytest.approx(
        [8 / STEPS_PER_EPOCH, 0.01 * 9 * np.mean(list(FACTOR.values()))]
    )
    assert "the median over 1/50 of training" in texts(figure)
