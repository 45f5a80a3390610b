"""The corridor meter's figure: measured numbers worked out by hand, and missing measurements."""

import numpy as np
import pandas as pd
import pytest
from figure_tables import (
    MEASURES,
    band,
    drawing,
    edit_parquet,
    edit_runs,
    legend,
    line,
    measures,
    roles,
    texts,
    title,
    write,
)

STEPS = [1, 3, 5]
# Columns of the panels, in their order; None is the autocorrelation, which is not measured.
COLUMNS = ("loss", "learning_rate", "turn", None, "kappa", "correction", "fall")


@pytest.fixture(scope="module")
def figure(tables):
    return drawing(tables, "corridor_meter")


@pytest.mark.parametrize(
    ("label", "name", "rate"), [("CLR", "CLR", None), ("SGD, best rate 0.1", "SGD 0.1", 0.1)]
)
def test_each_panel_shows_mean_and_range_of_a_measured_quantity(figure, label, name, rate):
    measured = [pair for pair in zip(figure.axes, COLUMNS, strict=True) if pair[1]]
    for ax, column in measured:
        i = MEASURES.index(column)
        seeds = np.array([[measures(rate, seed, step)[i] for step in STEPS] for seed in (0, 1, 2)])
        low, high = band(ax, name)
        assert line(ax, label).get_xdata().tolist() == STEPS
        assert line(ax, label).get_ydata() == pytest.approx(seeds.mean(axis=0)), column
        assert low == pytest.approx(seeds.min(axis=0)), column
        assert high == pytest.approx(seeds.max(axis=0)), column


def test_only_clr_and_the_best_rate_are_shown(figure):
    assert legend(figure.axes[0]) == ["CLR", "SGD, best rate 0.1"]
    for ax in figure.axes:
        assert "other" not in roles(ax)


def test_only_the_decrease_of_the_loss_and_the_autocorrelation_have_linear_axes(figure):
    scales = {column: ax.get_yscale() for ax, column in zip(figure.axes, COLUMNS, strict=True)}
    assert {column for column, scale in scales.items() if scale == "linear"} == {"fall", None}


def test_the_title_has_the_smallest_curvature_of_each_curve(figure):
    # The mean factor of the seeds is 3, and κ is 2 at step 3; half the turn is a quarter of κ.
    expected = "Corridor meter: smallest κ is 6 with CLR, 6 with SGD; in a corridor κ = 0"
    assert title(figure) == expected
    note = "the implicit regularization is 1.5 ‖g‖ with CLR (step 3), 1.5 ‖g‖ with SGD (step 3)."
    assert note in texts(figure)


def test_measurements_that_are_not_finite_leave_an_empty_figure(tmp_path):
    edit_parquet(
        write(tmp_path),
        "corridor_meter",
        lambda meter: meter.assign(kappa=np.nan, turn=np.nan, fall=np.nan),
    )
    drawn = drawing(tmp_path, "corridor_meter")
    assert title(drawn) == "Corridor meter"
    assert "No measurement is finite for all seeds." in texts(drawn)


def without(meter, ids):
    return meter[~meter["run_id"].isin(ids)]


def test_a_run_without_measurements_is_left_out_and_named(tmp_path):
    edit_parquet(write(tmp_path), "corridor_meter", lambda meter: without(meter, ["6400"]))
    drawn = drawing(tmp_path, "corridor_meter")
    assert line(drawn.axes[0], "CLR").get_ydata()[0] == 4  # the loss of seeds 1 and 2
    assert "Not measured: CLR with seed 0." in texts(drawn)
    assert "partial" not in title(drawn)


def test_a_curve_without_measurements_is_named(tmp_path):
    best = [f"64100{seed}" for seed in (0, 1, 2)]
    edit_parquet(write(tmp_path), "corridor_meter", lambda meter: without(meter, best))
    drawn = drawing(tmp_path, "corridor_meter")
    assert legend(drawn.axes[0]) == ["CLR"]
    assert "Not measured: SGD at rate 0.1." in texts(drawn)


def test_the_best_rate_is_picked_among_all_rates_although_only_it_was_measured(tmp_path):
    measured = [f"64{rate}{seed}" for rate in (0, 100) for seed in (0, 1, 2)]

    def only_these(meter):
        return meter[meter["run_id"].isin(measured)]

    edit_parquet(write(tmp_path), "corridor_meter", only_these)
    drawn = drawing(tmp_path, "corridor_meter")
    assert legend(drawn.axes[0]) == ["CLR", "SGD, best rate 0.1"]
    assert "Not measured" not in texts(drawn)


def test_results_without_measurements_give_an_empty_figure_that_says_so(tmp_path):
    (write(tmp_path) / "corridor_meter.parquet").unlink()
    drawn = drawing(tmp_path, "corridor_meter")
    assert "Not measured: SGD at rate 0.1; CLR." in texts(drawn)
    assert "Not measured" not in texts(drawing(tmp_path, 2))


def test_a_missing_run_is_counted_in_the_title(tmp_path):
    path = write(tmp_path) / "runs.csv"
    pd.read_csv(path).drop(0).to_csv(path, index=False)
    assert title(drawing(tmp_path, "corridor_meter")).endswith("(partial: 1 of 15 runs missing)")


def test_a_diverged_run_of_the_best_rate_makes_another_rate_the_best(tmp_path):
    edit_runs(write(tmp_path), lambda runs: runs["run_id"] == "641000", status="diverged")
    drawn = drawing(tmp_path, "corridor_meter")
    assert legend(drawn.axes[0]) == ["CLR", "SGD, best rate 0.3"]


def alternating(folder, last):
    """Tables of 40 steps in which the loss of CLR alternates up to the step `last`."""
    write(folder, batch_sizes=(64,), rates=(None, 0.01, 0.1, 0.3), epochs=20)

    def alternate(steps):
        clr = steps["run_id"].isin(["6400", "6401", "6402"])
        even = (steps["step"] <= last) & (steps["step"] % 2 == 0)
        trend = 0.99 ** steps["step"] * (1 + 0.1 * np.sin(steps["step"] / 3))
        return steps.assign(loss=trend * np.where(clr & even, 2.0, 1.0))

    edit_parquet(folder, "steps", alternate)
    edit_parquet(folder, "corridor_meter", lambda meter: meter.assign(turn=3.0))
    return folder


def test_the_autocorrelation_shows_the_end_of_an_alternation(tmp_path):
    drawn = drawing(alternating(tmp_path, last=20), "corridor_meter")
    autocorrelation = drawn.axes[3]
    clr, sgd = line(autocorrelation, "CLR"), line(autocorrelation, "SGD, best rate 0.1")
    assert clr.get_xdata().tolist() == [8.5, 16.5, 24.5, 32.5]
    assert clr.get_ydata()[0] < -0.9
    assert clr.get_ydata()[-1] > 0.5
    assert min(sgd.get_ydata()) > 0.3
    assert autocorrelation.get_xlim() == drawn.axes[2].get_xlim()


def test_the_legend_has_a_curve_that_only_the_autocorrelation_shows(tmp_path):
    folder = alternating(tmp_path, last=20)
    clr = ["6400", "6401", "6402"]
    edit_parquet(folder, "corridor_meter", lambda meter: meter[meter["run_id"].isin(clr)])
    drawn = drawing(folder, "corridor_meter")
    assert legend(drawn.axes[0]) == ["CLR", "SGD, best rate 0.1"]


def test_the_caption_compares_the_turn_where_the_loss_alternates_with_elsewhere(tmp_path):
    caption = texts(drawing(alternating(tmp_path, last=40), "corridor_meter"))
    # The measured steps 1, 3, …, 39 of each seed are all in a window.
    for sentence in (
        "Median turn of CLR, all seeds: 3 at the 60 measured steps where the loss alternates.",
        "Median turn of SGD, all seeds: 3 at the 60 measured steps where the loss does not",
    ):
        assert sentence in caption


def test_the_loss_and_the_adaptive_rate_show_their_single_steps(figure):
    loss, rate = figure.axes[:2]
    assert roles(loss).count("step") == 2
    assert roles(rate).count("step") == 1
    assert line(rate, "CLR, single steps").get_ydata() == pytest.approx(0.01 * np.arange(1, 7))
