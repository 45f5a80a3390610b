"""The rule that picks the best fixed rate, against sweeps small enough to pick by eye."""

import math

import pandas as pd
import pytest

from clr.analysis.baseline import BestRate, best_fixed_rate


def sweep(losses):
    """One run for each loss of each rate; None is a run that diverged."""
    rows = [
        {
            "learning_rate": rate,
            "seed": seed,
            "final_train_loss": loss,
            "status": "finished" if loss else "diverged",
        }
        for rate, seeds in losses.items()
        for seed, loss in enumerate(seeds)
    ]
    return pd.DataFrame(rows).assign(
        dataset="digits", model="resnet18", batch_size=64, optimizer="sgd"
    )


def test_lowest_mean_over_the_seeds_wins_though_another_rate_has_the_lowest_run():
    runs = sweep({0.01: [2.0, 2.0, 2.0], 0.1: [0.5, 0.5, 0.8], 1.0: [0.1, 0.9, 1.1]})
    assert best_fixed_rate(runs) == BestRate(0.1, pytest.approx(0.6), interior=True)
    assert best_fixed_rate(runs.iloc[::-1]) == best_fixed_rate(runs)


def test_one_diverged_seed_rules_a_rate_out_but_it_was_tried():
    runs = sweep({0.1: [0.5, 0.5], 1.0: [0.4, 0.4], 10.0: [0.01, None]})
    assert best_fixed_rate(runs) == BestRate(1.0, 0.4, interior=True)
    # Whatever a diverged run holds as its last loss, it does not count
    runs.loc[runs["status"] == "diverged", "final_train_loss"] = 0.0
    assert best_fixed_rate(runs) == BestRate(1.0, 0.4, interior=True)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_finished_run_with_a_loss_that_is_not_finite_counts_as_diverged(loss):
    assert best_fixed_rate(sweep({0.1: [0.5, 0.5], 1.0: [0.1, loss]})).learning_rate == 0.1


def test_of_equal_means_the_smaller_rate():
    best = best_fixed_rate(
        sweep({1.0: [0.25, 0.75], 0.1: [0.5, 0.5], 0.01: [0.75, 0.25], 0.001: [1.0, 1.0]})
    )
    assert (best.learning_rate, best.interior) == (0.01, True)


@pytest.mark.parametrize(
    ("losses", "rate"),
    [
        ({0.1: [0.1], 1.0: [0.5], 10.0: [None]}, 0.1),
        ({0.1: [0.9], 1.0: [0.5]}, 1.0),
        ({0.1: [0.9]}, 0.1),
    ],
)
def test_a_rate_at_an_edge_of_the_sweep_is_not_interior(losses, rate):
    best = best_fixed_rate(sweep(losses))
    assert (best.learning_rate, best.interior) == (rate, False)


def test_none_where_every_rate_diverged():
    assert best_fixed_rate(sweep({0.1: [None, 0.5], 1.0: [None, None]})) is None


@pytest.mark.parametrize("column", ["dataset", "model", "batch_size", "optimizer"])
def test_two_sweeps_at_once_are_refused(column):
    one = sweep({0.1: [0.5], 1.0: [0.4]})
    with pytest.raises(ValueError, match="one sweep"):
        best_fixed_rate(pd.concat([one, one.assign(**{column: 128})]))


def test_runs_without_a_fixed_rate_are_refused():
    with pytest.raises(ValueError, match="one sweep"):
        best_fixed_rate(sweep({0.1: [0.5], math.nan: [0.4]}))
