"""The figures: what is drawn, in numbers worked out by hand; and what is said."""

import numpy as np
import pandas as pd
import pytest
from figure_tables import (
    EPOCHS,
    HALVES,
    band,
    drawing,
    edit_runs,
    legend,
    line,
    luminance,
    texts,
    write,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("results") / "quick")


@pytest.mark.parametrize("number", [2, 7])
def test_figures_2_and_7_show_mean_and_band_of_clr_and_of_the_best_rate(folder, number):
    left, right = drawing(folder, number).axes
    steps = np.arange(1, 7)
    assert left.get_yscale() == "log"
    # Bands are drawn in the order of the curves: CLR's last, on top
    for label, rate, i in (("CLR", None, 1), ("SGD, best rate 0.1", 0.1, 0)):
        drawn = line(left, label)
        first = HALVES[rate] ** (steps - 1)
        assert np.array_equal(drawn.get_xdata(), steps)
        assert drawn.get_ydata() == pytest.approx(3 * first)
        low, high = band(left, i)
        assert low == pytest.approx(first) and high == pytest.approx(6 * first)
        accuracy = line(right, label)
        assert np.array_equal(accuracy.get_xdata(), [1, 2, 3])
        assert accuracy.get_ydata() == pytest.approx([40 / 3, 80 / 3, 40])
        low, high = band(right, i)
        assert low == pytest.approx([20 / 3, 40 / 3, 20]) and high == pytest.approx(
            [70 / 3, 140 / 3, 70]
        )
    for rate in (0.01, 0.3):
        faint = line(left, f"_other sgd {rate}")
        assert faint.get_ydata() == pytest.approx(3 * HALVES[rate] ** (steps - 1))
        assert faint.get_linewidth() < line(left, "CLR").get_linewidth()
    assert len(right.lines) == 2
    assert line(left, "CLR").get_linestyle() != line(left, "SGD, best rate 0.1").get_linestyle()


def test_a_diverged_rate_ends_in_a_cross_and_is_named(folder):
    left, _ = drawing(folder, 2).axes
    # Seed 0 has a finite loss at step 1 alone; the others, which went on to 3 and 4, cannot make a mean of seeds
    assert np.array_equal(line(left, "_other sgd 1").get_xydata(), [[1, 3]])
    cross = line(left, "_diverged")
    assert cross.get_marker() == "x" and np.array_equal(cross.get_xydata(), [[1, 3]])
    assert legend(left) == [
        "CLR",
        "SGD, best rate 0.1",
        "SGD, others: 0.01–0.3",
        "SGD, diverged: 1",
    ]


def test_a_diverged_rate_neither_stretches_the_axis_nor_loses_its_cross(folder, tmp_path):
    write(tmp_path)
    steps = pd.read_parquet(tmp_path / "steps.parquet")
    steps.loc[steps["run_id"].str.fullmatch("641000[012]") & (steps["step"] == 1), "loss"] = 1e30
    steps.to_parquet(tmp_path / "steps.parquet")
    left, _ = drawing(tmp_path, 2).axes
    low, high = left.get_ylim()
    assert (low, high) == drawing(folder, 2).axes[0].get_ylim()
    assert low < HALVES[None] ** 5 and 6 < high < 12
    assert np.array_equal(line(left, "_diverged").get_xydata(), [[1, high]])


def test_a_long_run_is_shown_in_means_of_some_steps_and_the_picture_says_so(tmp_path):
    figure = drawing(
        write(tmp_path, batch_sizes=(64,), rates=(None, 0.01), epochs=125), 2
    )  # 250 steps
    drawn = line(figure.axes[0], "CLR")
    assert drawn.get_xdata() == pytest.approx(np.arange(3, 251, 5))
    assert drawn.get_ydata()[1] == pytest.approx(
        3 * np.mean([0.4**5, 0.4**6, 0.4**7, 0.4**8, 0.4**9])
    )
    assert "Each point of the loss is the mean of 5 steps." in texts(figure)
    assert "SGD, best rate 0.01\n(edge of the sweep)" in legend(figure.axes[0])


def test_figure_3_shows_clr_at_each_batch_size_over_epochs(tmp_path):
    # With batch size 64 an epoch has 4 steps, one with 256 still has 2
    edit_runs(write(tmp_path), lambda runs: runs["batch_size"] == 64, num_train=4 * 64 + 63)
    figure = drawing(tmp_path, 3)
    left, right = figure.axes
    labels = ["CLR, batch size 64", "CLR, batch size 256"]
    steps, first = np.arange(1, 7), HALVES[None] ** np.arange(6)
    assert left.get_yscale() == "log" and legend(left) == labels
    for label, per_epoch, i in zip(
        labels, (4, 2), (1, 0), strict=True
    ):  # the largest is drawn first
        drawn = line(left, label)
        assert drawn.get_xdata() == pytest.approx(steps / per_epoch)
        assert drawn.get_ydata() == pytest.approx(3 * first)
        low, high = band(left, i)
        assert low == pytest.approx(first) and high == pytest.approx(6 * first)
        assert np.array_equal(line(right, label).get_xdata(), [1, 2, 3])
        assert line(right, label).get_ydata() == pytest.approx([40 / 3, 80 / 3, 40])
        low, high = band(right, i)
        assert low == pytest.approx([20 / 3, 40 / 3, 20]) and high == pytest.approx(
            [70 / 3, 140 / 3, 70]
        )
    assert len(left.lines) == len(right.lines) == 2
    small, large = (line(left, label) for label in labels)
    assert (
        luminance(small) - luminance(large) > 0.3 and small.get_linestyle() != large.get_linestyle()
    )
    assert figure._suptitle.get_text() == "Training with CLR across batch sizes"
    assert "The loss of every step is shown." in texts(figure)


def test_five_batch_sizes_can_be_told_apart_in_grey(tmp_path):
    left, _ = drawing(write(tmp_path, batch_sizes=(16, 32, 64, 128, 256), rates=(None,)), 3).axes
    dark_to_light = [luminance(drawn) for drawn in left.lines]
    assert min(np.diff(dark_to_light)) > 0.08 and dark_to_light[-1] < 0.8
    assert (
        len(
            {str(drawn.get_linestyle()) + str(drawn._unscaled_dash_pattern) for drawn in left.lines}
        )
        == 5
    )


def test_figure_3_says_how_many_steps_a_point_is_at_each_batch_size(tmp_path):
    write(tmp_path, rates=(None,), epochs=75)  # 150 steps, but of batch size 256 only 60 are left
    steps = pd.read_parquet(tmp_path / "steps.parquet")
    steps[~(steps["run_id"].str.startswith("256") & (steps["step"] > 60))].to_parquet(
        tmp_path / "steps.parquet"
    )
    figure = drawing(tmp_path, 3)
    assert "the mean of so many steps: 3 (batch size 64), 1 (batch size 256)." in texts(figure)
    drawn = line(figure.axes[0], "CLR, batch size 64")
    assert drawn.get_xdata()[:2] == pytest.approx(
        [1, 2.5]
    )  # steps 1 to 3 and 4 to 6, of 2 an epoch
    assert drawn.get_ydata()[1] == pytest.approx(3 * np.mean([0.4**3, 0.4**4, 0.4**5]))


def test_figure_5_is_figure_3_at_one_batch_size_in_clrs_colour(folder):
    figure = drawing(folder, 5)
    (drawn,) = figure.axes[0].lines
    assert drawn.get_xydata() == pytest.approx(
        np.column_stack((np.arange(1, 7) / 2, 3 * 0.4 ** np.arange(6)))
    )
    clr = line(drawing(folder, 2).axes[0], "CLR")
    assert (drawn.get_color(), drawn.get_linestyle()) == (clr.get_color(), clr.get_linestyle())
    assert legend(figure.axes[0]) == ["CLR, batch size 64"]
    assert figure._suptitle.get_text() == "Training with CLR"


def test_a_batch_size_at_which_clr_diverged_is_named_and_has_a_cross(tmp_path):
    write(tmp_path, rates=(None,))
    steps = pd.read_parquet(tmp_path / "steps.parquet")
    steps[~((steps["run_id"] == "25600") & (steps["step"] > 2))].to_parquet(
        tmp_path / "steps.parquet"
    )
    edit_runs(tmp_path, lambda runs: runs["run_id"] == "25600", status="diverged")
    left, _ = drawing(tmp_path, 3).axes
    assert legend(left) == ["CLR, batch size 64", "CLR, batch size 256 (diverged)"]
    assert line(left, "_diverged").get_xydata() == pytest.approx(np.array([[1, 3 * 0.4]]))


def test_figure_3_refuses_a_sweep_of_fixed_rates(tmp_path):
    named = pd.read_csv(write(tmp_path) / "figure_runs.csv", dtype={"run_id": str})
    named.assign(figure=3).drop_duplicates().to_csv(tmp_path / "figure_runs.csv", index=False)
    with pytest.raises(ValueError, match="one optimizer that sets its own rate"):
        drawing(tmp_path, 3)


def test_figure_4_shows_the_rates_that_clr_took_and_the_best_fixed_one(folder):
    figure = drawing(folder, 4)
    (ax,) = figure.axes
    taken, first = line(ax, "CLR"), 0.01 * np.arange(1, 7)
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "step"
    assert taken.get_ydata() == pytest.approx(3 * first)
    low, high = band(ax, 0)
    assert low == pytest.approx(first) and high == pytest.approx(6 * first)
    assert set(line(ax, "SGD, best rate 0.1").get_ydata()) == {0.1}
    assert len(ax.lines) == 2 and legend(ax) == ["CLR", "SGD, best rate 0.1"]


def test_figure_4_has_a_panel_for_each_data_set_and_the_cap_in_that_which_has_one(tmp_path):
    write(tmp_path, batch_sizes=(64,), rates=(None,))
    imagenet = {"dataset": "imagenet", "data_label": "ImageNet", "model": "resnet50", "max_lr": 10}
    edit_runs(tmp_path, lambda runs: runs["seed"] == 1, **imagenet)
    figure = drawing(tmp_path, 4)
    first, second = figure.axes
    assert first.get_title() == "CIFAR-10, 5,000 images\nResNet-18, batch size 64"
    assert second.get_title() == "ImageNet\nResNet-50, batch size 64"
    assert line(first, "CLR").get_ydata() == pytest.approx(0.035 * np.arange(1, 7))  # seeds 0 and 2
    assert line(second, "CLR").get_ydata() == pytest.approx(0.02 * np.arange(1, 7))
    assert legend(first) == ["CLR"] and len(first.lines) == 1 and first.get_ylim()[1] < 1
    assert legend(second) == ["CLR", "cap of the rate: 10"] and len(second.lines) == 2
    assert (
        set(line(second, "cap of the rate: 10").get_ydata()) == {10} and second.get_ylim()[1] > 10
    )
    assert (
        "CIFAR-10, 5,000 images · ResNet-18 · batch size 64 · 3 epochs · fp32 · 2 seeds (0, 2) "
        "ImageNet · ResNet-50 · batch size 64 · 3 epochs · fp32 · 1 seed (1) · CLR capped at 10 Scaled"
    ) in texts(figure)


def test_tables_from_before_there_were_caps_are_drawn_as_without(folder, tmp_path):
    write(tmp_path)
    pd.read_csv(tmp_path / "runs.csv").drop(columns="max_lr").to_csv(
        tmp_path / "runs.csv", index=False
    )
    for number in (2, 4):
        old, new = drawing(tmp_path, number), drawing(folder, number)
        assert texts(old) == texts(new) and len(old.axes[0].lines) == len(new.axes[0].lines)


def test_figure_6_shows_epoch_means_for_each_batch_size_and_the_last_ones_against_it(folder):
    first, second, last = drawing(folder, 6).axes
    assert [ax.get_title() for ax in (first, second)] == [
        "batch size 64 (diverged: rate 1)",
        "batch size 256 (diverged: rate 1)",
    ]
    epoch_means = {
        r: np.array([(1 + HALVES[r]) / 2 * HALVES[r] ** (2 * e) for e in range(EPOCHS)])
        for r in (None, 0.1)
    }
    for ax in (first, second):
        assert ax.get_ylim() == first.get_ylim() and ax.get_yscale() == "log"
        for label, rate, i in (("CLR", None, 1), ("SGD, best rate 0.1", 0.1, 0)):
            assert np.array_equal(line(ax, label).get_xdata(), [1, 2, 3])
            assert line(ax, label).get_ydata() == pytest.approx(3 * epoch_means[rate])
            low, high = band(ax, i)
            assert low == pytest.approx(epoch_means[rate]) and high == pytest.approx(
                6 * epoch_means[rate]
            )
        assert legend(ax) == ["CLR", "SGD, best rate 0.1"]
    finals = {container.get_label(): container for container in last.containers}
    for label, rate in (("CLR", None), ("SGD", 0.1)):
        data, _, (bars,) = finals[label]
        end = epoch_means[rate][-1]
        assert data.get_xydata() == pytest.approx(np.array([[64, 3 * end], [256, 3 * end]]))
        assert bars.get_segments()[0][:, 1] == pytest.approx([end, 6 * end])


def test_the_best_rate_is_chosen_at_each_batch_size(tmp_path):
    better = {"final_train_loss": 1e-6}
    edit_runs(
        write(tmp_path), lambda r: (r["batch_size"] == 256) & (r["learning_rate"] == 0.3), **better
    )
    first, second, _ = drawing(tmp_path, 6).axes
    assert legend(first)[1] == "SGD, best rate 0.1" and legend(second)[1] == "SGD, best rate 0.3"


def test_where_every_rate_diverged_clr_stands_alone(tmp_path):
    left, _ = drawing(write(tmp_path, rates=(None, 1.0)), 2).axes
    assert legend(left) == ["CLR", "SGD, diverged: 1"]


def test_clr_that_diverged_is_called_so(tmp_path):
    edit_runs(
        write(tmp_path, rates=(None, 0.01, 0.1)), lambda runs: runs.index == 0, status="diverged"
    )
    left, _ = drawing(tmp_path, 2).axes
    assert legend(left)[0] == "CLR (diverged)" and line(left, "_diverged").get_xdata() == [6]


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6, 7, 8, 9, "corridor_meter"])
@pytest.mark.parametrize("scaled", [True, False])
def test_the_picture_says_what_it_shows(tmp_path, number, scaled):
    said = texts(drawing(write(tmp_path, scaled=scaled), number))
    sizes = "64, 256" if number in (3, 6, 8, 9) else "64"
    facts = f"CIFAR-10, 5,000 images · ResNet-18 · batch size {sizes} · 3 epochs · fp32 · 3 seeds (0, 1, 2)"
    assert facts in said
    assert (
        "Scaled-down protocol “quick”: for a laptop." in said
    ) == scaled and "rotocol “quick”" in said
    assert (
        "Lines are means over the seeds, bands reach from the lowest to the highest seed." in said
    )
    assert ("× marks where" in said) == ("Grey:" in said) == (number in (2, 6, 7, 8))
    assert "partial" not in said


def test_a_figure_that_lacks_runs_says_so(folder, tmp_path):
    write(tmp_path)
    runs = pd.read_csv(tmp_path / "runs.csv")
    runs.drop([0, 3]).to_csv(tmp_path / "runs.csv", index=False)  # seed 0 of CLR and of rate 0.01
    figure = drawing(tmp_path, 2)
    assert "(partial: 2 of 15 runs missing)" in figure._suptitle.get_text()
    assert line(figure.axes[0], "CLR").get_ydata()[0] == 4  # seeds 1 and 2
    assert "(partial: 2 of 30 runs missing)" in drawing(tmp_path, 6)._suptitle.get_text()


@pytest.mark.parametrize(("column", "value"), [("dataset", "imagenet"), ("model", "resnet50")])
def test_two_sweeps_in_a_panel_are_refused_though_their_seeds_differ(tmp_path, column, value):
    write(tmp_path, rates=(None,))
    edit_runs(tmp_path, lambda runs: runs["seed"] == 1, **{column: value})
    for number in (2, 3, 5, 6, 7, 8):
        with pytest.raises(ValueError, match="one data set, model and batch size"):
            drawing(tmp_path, number)


def test_two_runs_of_one_seed_in_a_panel_are_refused(tmp_path):
    write(tmp_path)
    named = pd.read_csv(tmp_path / "figure_runs.csv", dtype=str)
    named.assign(figure=2).drop_duplicates().to_csv(tmp_path / "figure_runs.csv", index=False)
    with pytest.raises(ValueError, match="one run for each seed"):
        drawing(tmp_path, 2)
