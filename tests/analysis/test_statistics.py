"""Statistics of the verdicts: movement of a rate, and whether its order is random."""

import numpy as np
import pytest

from clr.analysis.verdicts import statistics


def test_extremes_are_medians_of_equal_windows():
    assert statistics.extremes(np.array([1, 1, 9, 3, 3, 3, 5, 0, 5.0]), 3) == (1, 5)
    assert statistics.extremes(np.array([4.0, 2.0]), 10) == (2, 4)


@pytest.mark.parametrize("steps", [7, 8, 60])
@pytest.mark.parametrize("missing", [False, True])
def test_extremes_agree_with_numpy_for_each_run(steps, missing):
    rates = np.random.default_rng(0).lognormal(size=(3, steps))
    if missing:
        rates[1, 2] = np.nan
    low, high = statistics.extremes(rates, 4)
    for i, rate in enumerate(rates):
        medians = [np.median(part) for part in np.array_split(rate, 4)]
        np.testing.assert_equal([low[i], high[i]], [np.min(medians), np.max(medians)])


TREND, JITTER = np.linspace(1, 10, 60), np.random.default_rng(0).uniform(1, 10, 60)


def test_the_permutation_test_tells_a_trend_from_noise():
    trend, jitter, equal = statistics.permutation_p_values([TREND, JITTER, np.ones(60)], 10, 99, 0)
    assert trend == 0.01
    assert jitter > 0.1
    assert equal == 1


def test_the_p_value_of_a_run_does_not_depend_on_the_other_runs():
    rates = [JITTER, TREND[:30], JITTER[::-1], JITTER[:30]]
    alone = [statistics.permutation_p_values([rate], 10, 99, seed=0)[0] for rate in rates]
    assert statistics.permutation_p_values(rates, 10, 99, seed=0) == alone
    assert len(set(alone)) == 4
