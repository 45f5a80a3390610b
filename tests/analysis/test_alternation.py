"""Autocorrelation at lag one of series with a known answer."""

import numpy as np
import pandas as pd
import pytest

from clr.analysis.alternation import (
    MAX_WINDOWS,
    WHITE_NOISE_BOUND,
    WINDOW,
    alternation,
    lag_one_autocorrelation,
    measured_turns,
)

STEPS = np.arange(WINDOW, dtype=float)
PHASE = (-1.0) ** STEPS


def many(draw, count=4000):
    """Autocorrelation of many random series."""
    random = np.random.default_rng(0)
    return np.array([lag_one_autocorrelation(draw(random)) for _ in range(count)])


def test_three_values_by_hand():
    # The line through 0, 3, 0 is 1; the residuals are -1, 2, -1.
    assert lag_one_autocorrelation(np.array([0.0, 3.0, 0.0])) == pytest.approx(-4 / 6)


@pytest.mark.parametrize("trend", [0.0, 3.0])
def test_an_alternating_series_is_near_minus_one_whatever_its_trend(trend):
    assert lag_one_autocorrelation(PHASE + trend * STEPS) == pytest.approx(-0.94, abs=0.01)


def test_the_bound_has_97_5_percent_of_white_noise_above_it():
    values = many(lambda random: random.standard_normal(WINDOW))
    assert np.mean(values > WHITE_NOISE_BOUND) == pytest.approx(0.975, abs=0.01)
    assert values.mean() == pytest.approx(-2 / WINDOW, abs=0.02)


def test_a_random_walk_does_not_alternate():
    values = many(lambda random: random.standard_normal(WINDOW).cumsum())
    assert values.mean() > 0.3
    assert np.mean(values < WHITE_NOISE_BOUND) < 0.001


def test_white_noise_that_alternates_as_well_is_below_the_bound():
    values = many(lambda random: 2 * PHASE + random.standard_normal(WINDOW))
    assert np.mean(values < WHITE_NOISE_BOUND) > 0.9


@pytest.mark.parametrize(
    "values", [np.full(WINDOW, 0.1), 0.1 + 0.3 * STEPS, np.where(STEPS == 5, np.inf, STEPS)]
)
def test_a_straight_line_and_an_infinite_value_have_no_autocorrelation(values):
    assert np.isnan(lag_one_autocorrelation(values))


def run(losses, run_id="a"):
    return pd.DataFrame({"run_id": run_id, "step": np.arange(len(losses)) + 1, "loss": losses})


def test_windows_overlap_by_half_and_have_the_step_of_their_center():
    # The loss alternates by a factor in the first 24 steps only: its logarithm, not the loss.
    loss = 0.9 ** np.arange(40.0)
    loss[:24:2] *= 3
    loss[24:] *= np.exp(0.1 * np.sin(np.arange(16) / 2))
    table = alternation(run(loss))
    assert table["step"].tolist() == [8.5, 16.5, 24.5, 32.5]
    assert table["autocorrelation"].iloc[:2].tolist() == pytest.approx([-0.94, -0.94], abs=0.01)
    assert table["autocorrelation"].iloc[3] > 0.3


def test_each_run_has_its_own_windows_in_the_order_of_its_steps():
    both = pd.concat([run(2 + PHASE, "a")[::-1], run(np.exp(STEPS**2 / 100), "b")])
    table = alternation(both).set_index("run_id")["autocorrelation"]
    assert table["a"] < -0.9
    assert table["b"] > 0.5


def test_a_long_run_has_few_windows():
    assert len(alternation(run(np.random.default_rng(0).uniform(1, 2, 5000)))) == MAX_WINDOWS


@pytest.mark.parametrize("bad", [0.0, np.inf, np.nan])
def test_a_loss_without_a_logarithm_makes_its_window_nan(bad):
    losses = 2 + (-1.0) ** np.arange(24)
    losses[2] = bad
    assert alternation(run(losses))["autocorrelation"].isna().tolist() == [True, False]


def test_a_run_shorter_than_a_window_has_no_rows():
    assert alternation(run(np.ones(WINDOW - 1))).empty


def test_the_turn_is_grouped_by_whether_the_loss_alternates_at_its_step():
    # The loss alternates in the first 24 steps and drifts after them.
    loss = np.r_[2 + (-1.0) ** np.arange(24), 3 + np.cumsum(np.sin(np.arange(40) / 6))]
    meter = pd.DataFrame(
        {"run_id": "a", "step": [3, 20, 50, 60], "turn": [2.5, np.inf, 1.5, 0.5], "kappa": 0.0}
    )
    turns = measured_turns(meter, alternation(run(loss)))
    assert turns[["step", "turn", "alternates"]].values.tolist() == [
        [3, 2.5, True],
        [50, 1.5, False],
        [60, 0.5, False],
    ]
