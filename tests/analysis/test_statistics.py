"""The numbers behind the verdicts: ratios over seeds, steps to a loss, how far a rate moves."""

import math

import numpy as np
import pandas as pd
import pytest
from claim_tables import falling, noise, sweep, write

from clr.analysis.verdicts import evidence as records
from clr.analysis.verdicts import rules, statistics

BOOTSTRAP = rules.load().bootstrap


def seeds(*values):
    return pd.Series(values, dtype=float)


# The ratio over seeds


@pytest.mark.parametrize("draw", range(10))
def test_exchanging_the_two_inverts_ratio_and_interval(draw):
    above, below = seeds(*noise(draw)), seeds(*noise(draw + 100))
    if draw % 3 == 0:
        above[draw % 2] = math.inf  # never reached
    there = statistics.ratio_over_seeds(above, below, BOOTSTRAP)
    back = statistics.ratio_over_seeds(below, above, BOOTSTRAP)
    inverse = [math.inf if x == 0 else 1 / x for x in (back.value, back.high, back.low)]
    assert [there.value, there.low, there.high] == pytest.approx(inverse)


def test_the_interval_over_three_seeds_is_the_range_of_their_own_ratios():
    ratio = statistics.ratio_over_seeds(seeds(2, 30, 4), seeds(1, 10, 8), BOOTSTRAP)
    assert [ratio.value, ratio.low, ratio.high] == pytest.approx([2, 0.5, 3])
    assert statistics.ratio_over_seeds(seeds(2, 30, 4), seeds(1, 10, 8), BOOTSTRAP) == ratio


def test_more_seeds_give_an_interval_within_their_range():
    ratio = statistics.ratio_over_seeds(seeds(*range(1, 21)), seeds(*[10] * 20), BOOTSTRAP)
    assert 0.1 < ratio.low < 1.0 < ratio.high < 2.0


def test_seeds_are_paired_by_their_number_and_one_has_no_interval():
    ratio = statistics.ratio_over_seeds(
        pd.Series({1: 6.0, 0: 5.0}), pd.Series({1: 2.0, 7: 1.0}), BOOTSTRAP
    )
    assert ratio.value == pytest.approx(3) and math.isnan(ratio.low) and math.isnan(ratio.high)


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [(math.inf, 5, math.inf), (5, math.inf, 0), (math.inf, math.inf, 1), (7, 7, 1)],
)
def test_never_is_infinite_and_a_tie_is_one(above, below, expected):
    ratio = statistics.ratio_over_seeds(seeds(above, above), seeds(below, below), BOOTSTRAP)
    assert [ratio.value, ratio.low, ratio.high] == [expected] * 3


def test_with_one_of_three_that_never_gets_there_the_median_is_a_seeds_own_and_the_upper_end_infinite():
    ratio = statistics.ratio_over_seeds(seeds(4, math.inf, 8), seeds(8, 8, 8), BOOTSTRAP)
    assert [ratio.value, ratio.low, ratio.high] == pytest.approx([1, 0.5, math.inf])


# What is read from one run


def test_the_loss_of_a_step_is_the_mean_over_the_epoch_up_to_it(tmp_path):
    folder = write(tmp_path, falling(1), sweep())
    runs = pd.read_csv(folder / "runs.csv")
    runs.assign(num_train=64 * 3 + 5).to_csv(
        folder / "runs.csv", index=False
    )  # three steps an epoch
    (scope,) = records.read(folder, 1.0).scopes
    run = scope.of("clr")[0]
    assert run.trailing_loss[:2] == pytest.approx([1, np.mean(run.loss[:2])])
    assert run.trailing_loss[2:] == pytest.approx([np.mean(run.loss[i : i + 3]) for i in range(11)])


def test_steps_count_from_one_to_the_first_that_is_low_enough_and_the_best_of_a_seeds_runs_counts(
    tmp_path,
):
    (scope,) = records.read(write(tmp_path, falling(2), sweep()), 1.0).scopes
    slow, quick = scope.of("sgd", 0.1), scope.of("clr")
    assert statistics.steps_to(slow, 1.0).tolist() == [1, 1, 1]
    assert statistics.steps_to(slow, 2.0**-5).tolist() == [6, 6, 6]
    assert statistics.steps_to(slow, 2.0**-13).tolist() == [math.inf] * 3
    assert statistics.steps_to([*slow, *quick], 2.0**-5).tolist() == [4, 4, 4]


def test_a_run_that_diverged_never_reaches_what_it_passed(tmp_path):
    losses = falling(2) | {1: [1.0, 1e-9, None]}
    (scope,) = records.read(write(tmp_path, losses, sweep()), 1.0).scopes
    assert statistics.steps_to(scope.of("clr"), 0.5).tolist() == [2, math.inf, 2]


def test_extremes_are_medians_of_equal_parts():
    assert statistics.extremes(np.array([1, 1, 9, 3, 3, 3, 5, 0, 5.0]), 3) == (1, 5)
    assert statistics.extremes(np.array([4.0, 2.0]), 10) == (2, 4)


def test_a_trend_is_no_chance_and_noise_is():
    trend, jitter = np.linspace(1, 10, 60), np.random.default_rng(0).uniform(1, 10, 60)
    assert statistics.chance_of_moving(trend, 10, 99, seed=0) == 0.01
    assert statistics.chance_of_moving(jitter, 10, 99, seed=0) > 0.1
    assert statistics.chance_of_moving(np.ones(60), 10, 99, seed=0) == 1
