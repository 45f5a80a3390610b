"""Figures 2, 4 and 7: curves and bands, compared with numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from figure_tables import (
    DECAY,
    assert_accuracy,
    assert_curve,
    band,
    drawing,
    edit_parquet,
    edit_runs,
    legend,
    line,
    roles,
    texts,
    title,
    write,
)

STEPS = np.arange(1, 7)


@pytest.mark.parametrize("number", [2, 7])
def test_figures_2_and_7_show_mean_and_range_of_clr_and_of_the_best_rate(tables, number):
    losses, accuracies = drawing(tables, number).axes
    assert losses.get_yscale() == "log"
    curves = (("CLR", "CLR", None), ("SGD, best rate 0.1", "SGD 0.1", 0.1))
    for label, name, rate in curves:
        assert_curve(losses, label, name, STEPS, DECAY[rate] ** (STEPS - 1))
        assert_accuracy(accuracies, label, name)
    assert roles(accuracies) == ["main", "main"]


def test_figure_2_shows_the_other_rates_as_thin_lines(tables):
    losses, _ = drawing(tables, 2).axes
    for rate in (0.01, 0.3):
        other = line(losses, f"SGD {rate}")
        assert other.get_ydata() == pytest.approx(3 * DECAY[rate] ** (STEPS - 1))
        assert other.get_linewidth() < line(losses, "CLR").get_linewidth()


def test_the_main_curves_of_figure_2_differ_in_line_style(tables):
    losses, _ = drawing(tables, 2).axes
    styles = [line(losses, label).get_linestyle() for label in ("CLR", "SGD, best rate 0.1")]
    assert styles[0] != styles[1]


def test_a_diverged_rate_ends_in_a_cross_and_is_in_the_legend(tables):
    losses, _ = drawing(tables, 2).axes
    # Seed 0 has a finite loss only at step 1, so that later steps have no mean over all seeds.
    assert np.array_equal(line(losses, "SGD 1").get_xydata(), [[1, 3]])
    cross = line(losses, "SGD 1 diverged")
    assert cross.get_marker() == "x"
    assert np.array_equal(cross.get_xydata(), [[1, 3]])
    entries = ["CLR", "SGD, best rate 0.1", "SGD, others: 0.01–0.3", "SGD, diverged: 1"]
    assert legend(losses) == entries


def test_a_diverged_rate_does_not_stretch_the_axis_and_its_cross_stays_visible(tables, tmp_path):
    def explode(steps):
        rows = steps["run_id"].str.fullmatch("641000[012]") & (steps["step"] == 1)
        return steps.assign(loss=steps["loss"].where(~rows, 1e30))

    edit_parquet(write(tmp_path), "steps", explode)
    losses, _ = drawing(tmp_path, 2).axes
    low, high = losses.get_ylim()
    assert (low, high) == drawing(tables, 2).axes[0].get_ylim()
    assert low < DECAY[None] ** 5
    assert 6 < high < 12
    assert np.array_equal(line(losses, "SGD 1 diverged").get_xydata(), [[1, high]])


def test_a_long_run_is_shown_in_means_of_several_steps_and_the_caption_says_so(tmp_path):
    write(tmp_path, batch_sizes=(64,), rates=(None, 0.01), epochs=125)  # 250 steps
    figure = drawing(tmp_path, 2)
    drawn = line(figure.axes[0], "CLR")
    # An even number of steps, although 5 would make 50 points: see `steps_per_point`.
    assert drawn.get_xdata()[:-1] == pytest.approx(np.arange(3.5, 246, 6))
    assert drawn.get_ydata()[1] == pytest.approx(3 * np.mean(0.4 ** np.arange(6, 12)))
    assert "Loss: each point is the mean of 6 steps." in texts(figure)
    assert "SGD, best rate 0.01\n(edge of the sweep)" in legend(figure.axes[0])


def test_without_a_surviving_rate_figure_2_shows_clr_alone(tmp_path):
    losses, _ = drawing(write(tmp_path, rates=(None, 1.0)), 2).axes
    assert legend(losses) == ["CLR", "SGD, diverged: 1"]


@pytest.mark.parametrize(
    "change", [{"status": "diverged"}, {"final_train_loss": math.nan}], ids=["status", "loss"]
)
def test_the_legend_says_that_a_seed_of_clr_diverged(tmp_path, change):
    write(tmp_path, rates=(None, 0.01, 0.1))
    edit_runs(tmp_path, lambda runs: runs.index == 0, **change)
    losses, _ = drawing(tmp_path, 2).axes
    assert legend(losses)[0] == "CLR (diverged)"
    assert line(losses, "CLR diverged").get_xdata() == [6]


def test_figure_4_shows_the_learning_rates_of_clr_and_the_best_fixed_one(tables):
    (ax,) = drawing(tables, 4).axes
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel() == "step"
    assert_curve(ax, "CLR", "CLR", STEPS, 0.01 * STEPS)
    assert set(line(ax, "SGD, best rate 0.1").get_ydata()) == {0.1}
    assert roles(ax) == ["level", "main"]
    assert legend(ax) == ["CLR", "SGD, best rate 0.1"]


def test_figure_4_has_a_panel_for_each_data_set_and_the_cap_only_in_its_panel(tmp_path):
    write(tmp_path, batch_sizes=(64,), rates=(None,))
    imagenet = {"dataset": "imagenet", "data_label": "ImageNet", "model": "resnet50", "max_lr": 10}
    edit_runs(tmp_path, lambda runs: runs["seed"] == 1, **imagenet)
    figure = drawing(tmp_path, 4)
    first, second = figure.axes
    assert first.get_title() == "CIFAR-10, 5,000 images\nResNet-18, batch size 64"
    assert second.get_title() == "ImageNet\nResNet-50, batch size 64"
    assert line(first, "CLR").get_ydata() == pytest.approx(0.035 * STEPS)  # seeds 0 and 2
    assert line(second, "CLR").get_ydata() == pytest.approx(0.02 * STEPS)
    assert legend(first) == ["CLR"]
    assert first.get_ylim()[1] < 1
    assert legend(second) == ["CLR", "cap: 10"]
    assert set(line(second, "cap: 10").get_ydata()) == {10}
    assert second.get_ylim()[1] > 10
    facts = (
        "CIFAR-10, 5,000 images · ResNet-18 · batch size 64 · 3 epochs · fp32 · 2 seeds (0, 2) "
        "ImageNet · ResNet-50 · batch size 64 · 3 epochs · fp32 · 1 seed (1) · CLR capped at 10 "
        "Scaled"
    )
    assert facts in texts(figure)


@pytest.mark.parametrize("figure", [2, 4, 9])
def test_an_infinite_cap_is_drawn_as_no_cap(tables, tmp_path, figure):
    edit_runs(write(tmp_path), lambda runs: runs["optimizer"] == "clr", max_lr=math.inf)
    capped, uncapped = drawing(tmp_path, figure), drawing(tables, figure)
    assert texts(capped) == texts(uncapped)
    assert legend(capped.axes[0]) == legend(uncapped.axes[0])
    assert capped.axes[0].get_ylim() == uncapped.axes[0].get_ylim()


def test_tables_without_the_column_of_caps_are_drawn_as_without_caps(tables, tmp_path):
    path = write(tmp_path) / "runs.csv"
    pd.read_csv(path, dtype={"run_id": str}).drop(columns="max_lr").to_csv(path, index=False)
    for figure in (2, 4):
        without, empty = drawing(tmp_path, figure), drawing(tables, figure)
        assert texts(without) == texts(empty)
        assert roles(without.axes[0]) == roles(empty.axes[0])


@pytest.mark.parametrize("figure", [2, 3, 4, 5, 6, 7, 8, 9, "corridor_meter"])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.slow
def test_the_caption_says_what_was_run_and_how_it_is_drawn(tmp_path, figure, scaled):
    caption = texts(drawing(write(tmp_path, scaled=scaled), figure))
    sizes = "64, 256" if figure in (3, 6, 8, 9) else "64"
    runs = f"ResNet-18 · batch size {sizes} · 3 epochs · fp32 · 3 seeds (0, 1, 2)"
    assert f"CIFAR-10, 5,000 images · {runs}" in caption
    kind = "Scaled-down protocol" if scaled else "Protocol"
    assert f" {kind} “quick”: for a laptop." in caption
    assert "Lines: mean over the seeds; bands: lowest to highest seed." in caption
    sweep = figure in (2, 6, 7, 8)
    assert ("×: the first seed" in caption) == sweep
    assert ("Gray:" in caption) == sweep
    assert "partial" not in caption


def test_a_figure_that_lacks_runs_says_so_in_its_title(tmp_path):
    path = write(tmp_path) / "runs.csv"
    runs = pd.read_csv(path)
    runs.drop([0, 3]).to_csv(path, index=False)  # seed 0 of CLR and of rate 0.01
    figure = drawing(tmp_path, 2)
    assert title(figure).endswith("(partial: 2 of 15 runs missing)")
    assert line(figure.axes[0], "CLR").get_ydata()[0] == 4  # mean of seeds 1 and 2
    assert title(drawing(tmp_path, 6)).endswith("(partial: 2 of 30 runs missing)")


def test_a_step_without_a_loss_is_left_out(tmp_path):
    """JSON has no nan: such a loss arrives as null, and is nan in the table."""
    edit_parquet(write(tmp_path), "steps", lambda t: t.assign(loss=t["loss"].where(t["step"] != 2)))
    losses, _ = drawing(tmp_path, 2).axes
    assert line(losses, "CLR").get_xdata().tolist() == [1, 3, 4, 5, 6]
    low, _ = band(losses, "CLR")
    assert low == pytest.approx(DECAY[None] ** np.array([0, 2, 3, 4, 5]))
