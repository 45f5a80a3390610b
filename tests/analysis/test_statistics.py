"""Statistics of the verdicts: movement of a rate, and whether its order is random."""

import numpy as np

from clr.analysis.verdicts import statistics


def test_extremes_are_medians_of_equal_windows():
    assert statistics.extremes(np.array([1, 1, 9, 3, 3, 3, 5, 0, 5.0]), 3) == (1, 5)
    assert statistics.extremes(np.array([4.0, 2.0]), 10) == (2, 4)


def test_the_permutation_test_tells_a_trend_from_noise():
    trend, jitter = np.linspace(1, 10, 60), np.random.default_rng(0).uniform(1, 10, 60)
    assert statistics.permutation_p_value(trend, 10, 99, seed=0) == 0.01
    assert statistics.permutation_p_value(jitter, 10, 99, seed=0) > 0.1
    assert statistics.permutation_p_value(np.ones(60), 10, 99, seed=0) == 1
