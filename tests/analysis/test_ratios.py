"""Ratios over the seeds: the t interval and its coverage, ratios that are 0 or infinite, text."""

import math

import numpy as np
import pandas as pd
import pytest
from claim_tables import noise
from scipy.stats import bootstrap

from clr.analysis.ratios import NO_RATIO, Ratio, log_ratio, ratio_over_seeds

SIMULATIONS = 2000


def seeds(*values):
    return pd.Series(values, dtype=float)


def ends(ratio):
    return [ratio.value, ratio.low, ratio.high]


@pytest.mark.parametrize("draw", range(10))
def test_exchanging_the_two_series_inverts_the_ratio_and_its_interval(draw):
    numerator, denominator = seeds(*noise(draw)), seeds(*noise(draw + 100))
    if draw % 3 == 0:
        numerator[draw % 2] = math.inf  # never reached
    ratio = ratio_over_seeds(numerator, denominator, 0.95)
    inverted = ratio_over_seeds(denominator, numerator, 0.95)
    expected = [
        math.inf if x == 0 else 1 / x for x in (inverted.value, inverted.high, inverted.low)
    ]
    assert ends(ratio) == pytest.approx(expected)


def test_the_ratio_is_the_geometric_mean_with_a_t_interval_of_the_logarithms():
    ratio = ratio_over_seeds(seeds(1, 2, 4), seeds(1, 1, 1), 0.95)
    # The logarithms are 0, 1 and 2 times log 2; the 0.975 quantile of t with 2 degrees is 4.3027.
    factor = 2 ** (4.3027 / math.sqrt(3))
    assert ends(ratio) == pytest.approx([2, 2 / factor, 2 * factor], rel=1e-4)


def test_the_series_are_paired_before_their_ratio_is_averaged():
    ratio = ratio_over_seeds(seeds(1, 10, 100), seeds(2, 20, 200), 0.95)
    assert ends(ratio) == pytest.approx([0.5, 0.5, 0.5])


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5])
def test_the_t_interval_covers_95_percent_where_a_bootstrap_of_three_seeds_covers_75(n):
    """The simulation that docs/results.md quotes; the true ratio is 1."""
    rng = np.random.default_rng(0)
    numerators, denominators = np.exp(rng.normal(scale=0.1, size=(2, SIMULATIONS, n)))
    pairs = zip(numerators, denominators, strict=True)
    ratios = [ratio_over_seeds(seeds(*a), seeds(*b), 0.95) for a, b in pairs]
    covered = np.mean([ratio.low <= 1 <= ratio.high for ratio in ratios])
    assert covered == pytest.approx(0.95, abs=0.01)
    interval = bootstrap(
        (numerators / denominators,),
        np.median,
        axis=-1,
        method="percentile",
        n_resamples=999,
        rng=rng,
    ).confidence_interval
    bootstrap_covered = np.mean((interval.low <= 1) & (interval.high >= 1))
    print(f"{n} seeds: t interval {covered:.1%}, percentile bootstrap {bootstrap_covered:.1%}")
    assert bootstrap_covered == pytest.approx({3: 0.75, 5: 0.94}[n], abs=0.02)


def test_seeds_are_paired_by_their_number_and_a_single_pair_has_no_interval():
    numerator, denominator = pd.Series({1: 6.0, 0: 5.0}), pd.Series({1: 2.0, 7: 1.0})
    ratio = ratio_over_seeds(numerator, denominator, 0.95)
    assert ends(ratio) == pytest.approx([3, math.nan, math.nan], nan_ok=True)
    assert ratio.lower_bound == ratio.value
    assert ratio.upper_bound == ratio.value


def test_without_a_common_seed_there_is_no_ratio():
    ratio = ratio_over_seeds(pd.Series({0: 1.0}), pd.Series({1: 1.0}), 0.95)
    assert ends(ratio) == pytest.approx([math.nan] * 3, nan_ok=True)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        (math.inf, 5, math.inf),
        (5, math.inf, 0),
        (math.inf, math.inf, 1),
        (7, 7, 1),
        (0, 0, 1),
        (0, 7, 0),
    ],
)
def test_an_infinite_value_means_never_and_a_tie_is_1(numerator, denominator, expected):
    series = seeds(numerator, numerator), seeds(denominator, denominator)
    assert ends(ratio_over_seeds(*series, 0.95)) == [expected] * 3


@pytest.mark.parametrize(
    ("numerator", "expected"),
    [
        ((4, math.inf, 8), [1, 0.5, math.inf]),
        ((4, 0, 8), [0.5, 0, 1]),
        ((4, math.inf), [math.inf, 0.5, math.inf]),
        ((0, math.inf), [1, 0, math.inf]),
    ],
)
def test_with_a_ratio_of_0_or_infinity_there_are_median_and_range(numerator, expected):
    ratio = ratio_over_seeds(seeds(*numerator), seeds(*[8] * len(numerator)), 0.95)
    assert ends(ratio) == pytest.approx(expected)


def test_ratios_that_differ_by_many_decades_have_an_infinite_interval_instead_of_an_error():
    ratio = ratio_over_seeds(seeds(1e-300, 1e300), seeds(1, 1), 0.95)
    assert ends(ratio) == pytest.approx([1, 0, math.inf])


def test_the_log_ratio_is_exactly_0_for_equal_values():
    equal = np.array([0.0, 0.1, math.inf])
    assert log_ratio(equal, equal).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (Ratio(1.2345, 1.1, 1.3), "1.23 (1.1–1.3)"),
        (Ratio(1, 1, 1), "1 (1–1)"),
        (Ratio(2, math.nan, math.nan), "2"),
        (Ratio(math.inf, math.inf, math.inf), "not reached"),
        (Ratio(2, 1.5, math.inf), "2 (1.5 to not reached)"),
        (Ratio(math.inf, 1.5, math.inf), "not reached (1.5 to not reached)"),
        (NO_RATIO, "–"),
    ],
)
def test_a_ratio_is_written_with_words_for_infinity(ratio, text):
    assert ratio.text("not reached") == text
