"""Figures 3, 5 and 6: curves at several batch sizes, compared with numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from figure_tables import (
    DECAY,
    EPOCHS,
    assert_accuracy,
    assert_curve,
    drawing,
    edit_parquet,
    edit_runs,
    legend,
    line,
    luminance,
    roles,
    texts,
    title,
    write,
)

from clr.errors import UserError

STEPS = np.arange(1, 7)


def test_figure_3_shows_clr_at_each_batch_size_over_epochs(tmp_path):
    # An epoch has 4 steps with batch size 64, and 2 with batch size 256.
    edit_runs(write(tmp_path), lambda runs: runs["batch_size"] == 64, num_train=4 * 64 + 63)
    figure = drawing(tmp_path, 3)
    losses, accuracies = figure.axes
    assert losses.get_yscale() == "log"
    assert legend(losses) == ["CLR, batch size 64", "CLR, batch size 256"]
    for label, steps_per_epoch in (("CLR, batch size 64", 4), ("CLR, batch size 256", 2)):
        assert_curve(losses, label, label, STEPS / steps_per_epoch, DECAY[None] ** (STEPS - 1))
        assert_accuracy(accuracies, label, label)
    assert roles(losses) == roles(accuracies) == ["main", "main"]
    assert title(figure) == "Training with CLR across batch sizes"
    assert "Loss: every step." in texts(figure)


def test_five_batch_sizes_can_be_distinguished_in_gray_print(tmp_path):
    losses, _ = drawing(write(tmp_path, batch_sizes=(16, 32, 64, 128, 256), rates=(None,)), 3).axes
    dark_to_light = [luminance(drawn) for drawn in losses.lines]
    assert min(np.diff(dark_to_light)) > 0.08
    assert dark_to_light[-1] < 0.8
    styles = {str(drawn._unscaled_dash_pattern) for drawn in losses.lines}
    assert len(styles) == 5


def test_figure_3_says_how_many_steps_a_point_is_at_each_batch_size(tmp_path):
    def shorten(steps):
        return steps[~(steps["run_id"].str.startswith("256") & (steps["step"] > 60))]

    # 150 steps, of which 60 are kept with batch size 256.
    edit_parquet(write(tmp_path, rates=(None,), epochs=75), "steps", shorten)
    figure = drawing(tmp_path, 3)
    assert "is the mean of: 4 (batch size 64); 1 (batch size 256)." in texts(figure)
    drawn = line(figure.axes[0], "CLR, batch size 64")
    # Steps 1 to 4 and 5 to 8, of 2 per epoch.
    assert drawn.get_xdata()[:2] == pytest.approx([1.25, 3.25])
    assert drawn.get_ydata()[1] == pytest.approx(3 * np.mean(0.4 ** np.array([4, 5, 6, 7])))


def test_figure_5_is_figure_3_with_one_batch_size_in_the_color_of_clr(tables):
    figure = drawing(tables, 5)
    (drawn,) = figure.axes[0].lines
    assert drawn.get_xdata() == pytest.approx(STEPS / 2)
    assert drawn.get_ydata() == pytest.approx(3 * 0.4 ** (STEPS - 1))
    clr = line(drawing(tables, 2).axes[0], "CLR")
    assert drawn.get_color() == clr.get_color()
    assert drawn.get_linestyle() == clr.get_linestyle()
    assert legend(figure.axes[0]) == ["CLR, batch size 64"]
    assert title(figure) == "Training with CLR"


def test_a_batch_size_with_a_diverged_seed_is_named_and_has_a_cross(tmp_path):
    def cut(steps):
        return steps[~((steps["run_id"] == "25600") & (steps["step"] > 2))]

    edit_parquet(write(tmp_path, rates=(None,)), "steps", cut)
    edit_runs(tmp_path, lambda runs: runs["run_id"] == "25600", status="diverged")
    losses, _ = drawing(tmp_path, 3).axes
    assert legend(losses) == ["CLR, batch size 64", "CLR, batch size 256 (diverged)"]
    (cross,) = line(losses, "CLR, batch size 256 diverged").get_xydata()
    assert cross == pytest.approx([1, 3 * 0.4])


def assign_all_runs_to(folder, figure):
    named = pd.read_csv(folder / "figure_runs.csv", dtype=str)
    named.assign(figure=figure).drop_duplicates().to_csv(folder / "figure_runs.csv", index=False)


def test_figure_3_refuses_fixed_rates(tmp_path):
    assign_all_runs_to(write(tmp_path), 3)
    with pytest.raises(
        UserError, match=r"one optimizer that sets its own rate.*SGD, best rate 0\.1"
    ):
        drawing(tmp_path, 3)


@pytest.mark.parametrize(("column", "value"), [("dataset", "imagenet"), ("model", "resnet50")])
@pytest.mark.parametrize("figure", [2, 3, 5, 6, 7, 8])
def test_a_panel_refuses_runs_of_two_data_sets_or_models(tmp_path, figure, column, value):
    edit_runs(write(tmp_path, rates=(None,)), lambda runs: runs["seed"] == 1, **{column: value})
    with pytest.raises(UserError, match=f"one dataset, model and batch size.*{value}"):
        drawing(tmp_path, figure)


def test_a_panel_refuses_two_runs_with_the_same_rate_and_seed(tmp_path):
    write(tmp_path, batch_sizes=(64,))
    edit_runs(tmp_path, lambda runs: runs["run_id"] == "6401", seed=0)
    with pytest.raises(UserError, match=r"one run per optimizer.*6400, 6401; remove one"):
        drawing(tmp_path, 2)


def epoch_means(rate):
    """Mean loss of seed 0 in each epoch, which has two steps."""
    return (1 + DECAY[rate]) / 2 * DECAY[rate] ** (2 * np.arange(EPOCHS))


def test_figure_6_shows_epoch_means_at_each_batch_size(tables):
    first, second, _ = drawing(tables, 6).axes
    for ax, size in ((first, 64), (second, 256)):
        assert ax.get_title() == f"batch size {size} (diverged: rate 1)"
        assert ax.get_ylim() == first.get_ylim()
        assert ax.get_yscale() == "log"
        middles = [0.5, 1.5, 2.5]
        assert_curve(ax, "CLR", "CLR", middles, epoch_means(None))
        assert_curve(ax, "SGD, best rate 0.1", "SGD 0.1", middles, epoch_means(0.1))
        assert legend(ax) == ["CLR", "SGD, best rate 0.1"]


def test_the_last_panel_of_figure_6_shows_the_final_loss_with_bars_over_the_seeds(tables):
    *_, last = drawing(tables, 6).axes
    finals = {container.get_label(): container for container in last.containers}
    assert legend(last) == ["CLR", "SGD"]
    for label, rate in (("CLR", None), ("SGD", 0.1)):
        drawn, _, (bars,) = finals[label]
        end = epoch_means(rate)[-1]
        assert drawn.get_xdata().tolist() == [64, 256]
        assert drawn.get_ydata() == pytest.approx([3 * end, 3 * end])
        assert bars.get_segments()[0][:, 1] == pytest.approx([end, 6 * end])


def test_equal_final_losses_have_bars_of_length_0(tmp_path):
    # The mean of three times 0.7 is rounded to below 0.7.
    edit_runs(write(tmp_path), lambda runs: runs["batch_size"] == 256, final_train_loss=0.7)
    assert pd.Series([0.7] * 3).mean() < 0.7
    *_, last = drawing(tmp_path, 6).axes
    for container in last.containers:
        assert container.lines[2][0].get_segments()[1][:, 1] == pytest.approx([0.7, 0.7])


def test_figure_6_picks_the_best_rate_at_each_batch_size(tmp_path):
    def better(runs):
        return (runs["batch_size"] == 256) & (runs["learning_rate"] == 0.3)

    edit_runs(write(tmp_path), better, final_train_loss=1e-6)
    first, second, _ = drawing(tmp_path, 6).axes
    assert legend(first)[1] == "SGD, best rate 0.1"
    assert legend(second)[1] == "SGD, best rate 0.3"
