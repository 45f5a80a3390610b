"""Statistics of the verdicts: ratios over seeds, steps to a loss, movement of a rate."""

import math

import numpy as np
import pandas as pd
import pytest
from claim_tables import falling, noise, sweep, write

from clr.analysis.verdicts import evidence, rules, statistics
from clr.analysis.verdicts.statistics import Ratio

BOOTSTRAP = rules.load().bootstrap


def seeds(*values):
    return pd.Series(values, dtype=float)


def ends(ratio):
    return [ratio.value, ratio.low, ratio.high]


# Ratio over the seeds


@pytest.mark.parametrize("draw", range(10))
def test_exchanging_the_two_series_inverts_the_ratio_and_its_interval(draw):
    numerator, denominator = seeds(*noise(draw)), seeds(*noise(draw + 100))
    if draw % 3 == 0:
        numerator[draw % 2] = math.inf  # never reached
    ratio = statistics.ratio_over_seeds(numerator, denominator, BOOTSTRAP)
    inverted = statistics.ratio_over_seeds(denominator, numerator, BOOTSTRAP)
    expected = [
        math.inf if x == 0 else 1 / x for x in (inverted.value, inverted.high, inverted.low)
    ]
    assert ends(ratio) == pytest.approx(expected)


def test_the_interval_over_three_seeds_is_the_range_of_their_ratios():
    ratio = statistics.ratio_over_seeds(seeds(2, 30, 4), seeds(1, 10, 8), BOOTSTRAP)
    assert ends(ratio) == pytest.approx([2, 0.5, 3])


def test_the_interval_is_the_same_at_every_call():
    series = seeds(2, 30, 4), seeds(1, 10, 8)
    first = statistics.ratio_over_seeds(*series, BOOTSTRAP)
    assert statistics.ratio_over_seeds(*series, BOOTSTRAP) == first


def test_many_seeds_have_an_interval_inside_their_range():
    ratio = statistics.ratio_over_seeds(seeds(*range(1, 21)), seeds(*[10] * 20), BOOTSTRAP)
    assert 0.1 < ratio.low < 1.0 < ratio.high < 2.0


def test_seeds_are_paired_by_their_number_and_a_single_pair_has_no_interval():
    numerator, denominator = pd.Series({1: 6.0, 0: 5.0}), pd.Series({1: 2.0, 7: 1.0})
    ratio = statistics.ratio_over_seeds(numerator, denominator, BOOTSTRAP)
    assert ends(ratio) == pytest.approx([3, math.nan, math.nan], nan_ok=True)
    assert ratio.lower_bound == ratio.upper_bound == ratio.value


def test_without_a_common_seed_there_is_no_ratio():
    ratio = statistics.ratio_over_seeds(pd.Series({0: 1.0}), pd.Series({1: 1.0}), BOOTSTRAP)
    assert ends(ratio) == pytest.approx([math.nan] * 3, nan_ok=True)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(math.inf, 5, math.inf), (5, math.inf, 0), (math.inf, math.inf, 1), (7, 7, 1)],
)
def test_an_infinite_value_means_never_and_a_tie_is_1(numerator, denominator, expected):
    series = seeds(numerator, numerator), seeds(denominator, denominator)
    assert ends(statistics.ratio_over_seeds(*series, BOOTSTRAP)) == [expected] * 3


def test_if_one_of_three_seeds_never_reaches_only_the_upper_end_is_infinite():
    ratio = statistics.ratio_over_seeds(seeds(4, math.inf, 8), seeds(8, 8, 8), BOOTSTRAP)
    assert ends(ratio) == pytest.approx([1, 0.5, math.inf])


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (Ratio(1.2345, 1.1, 1.3), "1.23 (1.1–1.3)"),
        (Ratio(1, 1, 1), "1 (1–1)"),
        (Ratio(2, math.nan, math.nan), "2"),
        (Ratio(math.inf, math.inf, math.inf), "not reached"),
        (Ratio(2, 1.5, math.inf), "2 (1.5 to not reached)"),
        (Ratio(math.inf, 1.5, math.inf), "not reached (1.5 to not reached)"),
        (statistics.NO_RATIO, "–"),
    ],
)
def test_a_ratio_is_written_with_words_for_infinity(ratio, text):
    assert ratio.text("not reached") == text


# Single runs


def only_scope(folder):
    (scope,) = evidence.read(folder, 1.0).scopes
    return scope


def test_the_trailing_loss_is_the_mean_over_the_epoch_that_ends_with_the_step(tmp_path):
    folder = write(tmp_path, falling(1), sweep())
    runs = pd.read_csv(folder / "runs.csv")
    three_steps = 64 * 3 + 5  # the last 5 images of an epoch are dropped
    runs.assign(num_train=three_steps).to_csv(folder / "runs.csv", index=False)
    run = only_scope(folder).select("clr")[0]
    assert run.trailing_loss[:2] == pytest.approx([1, np.mean(run.loss[:2])])
    assert run.trailing_loss[2:] == pytest.approx([np.mean(run.loss[i : i + 3]) for i in range(11)])


def test_steps_to_a_loss_count_from_one(tmp_path):
    slow = only_scope(write(tmp_path, falling(2), sweep())).select("sgd", 0.1)
    assert statistics.steps_to(slow, 1.0).tolist() == [1, 1, 1]
    assert statistics.steps_to(slow, 2.0**-5).tolist() == [6, 6, 6]
    assert statistics.steps_to(slow, 2.0**-13).tolist() == [math.inf] * 3


def test_the_fastest_of_several_runs_of_a_seed_counts(tmp_path):
    scope = only_scope(write(tmp_path, falling(2), sweep()))
    runs = [*scope.select("sgd", 0.1), *scope.select("clr")]
    assert statistics.steps_to(runs, 2.0**-5).tolist() == [4, 4, 4]


def test_a_diverged_run_never_reaches_a_loss_that_it_passed(tmp_path):
    losses = falling(2) | {1: [1.0, 1e-9, None]}
    runs = only_scope(write(tmp_path, losses, sweep())).select("clr")
    assert statistics.steps_to(runs, 0.5).tolist() == [2, math.inf, 2]


def test_extremes_are_medians_of_equal_windows():
    assert statistics.extremes(np.array([1, 1, 9, 3, 3, 3, 5, 0, 5.0]), 3) == (1, 5)
    assert statistics.extremes(np.array([4.0, 2.0]), 10) == (2, 4)


def test_the_permutation_test_tells_a_trend_from_noise():
    trend, jitter = np.linspace(1, 10, 60), np.random.default_rng(0).uniform(1, 10, 60)
    assert statistics.permutation_p_value(trend, 10, 99, seed=0) == 0.01
    assert statistics.permutation_p_value(jitter, 10, 99, seed=0) > 0.1
    assert statistics.permutation_p_value(np.ones(60), 10, 99, seed=0) == 1
