"""The rule that picks the best fixed rate, and the definition of a diverged run."""

import math

import pandas as pd
import pytest

from clr.analysis.baseline import BestRate, best_fixed_rate, diverged


def sweep(losses):
    """One run for each loss of each rate; None is a diverged run."""
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


def test_the_lowest_mean_over_the_seeds_wins_over_the_lowest_single_run():
    runs = sweep({0.01: [2.0, 2.0, 2.0], 0.1: [0.5, 0.5, 0.8], 1.0: [0.1, 0.9, 1.1]})
    assert best_fixed_rate(runs) == BestRate(0.1, pytest.approx(0.6), interior=True)


def test_the_order_of_the_rows_does_not_matter():
    runs = sweep({0.01: [2.0, 2.0], 0.1: [0.5, 0.5], 1.0: [0.9, 0.9]})
    assert best_fixed_rate(runs.iloc[::-1]) == best_fixed_rate(runs)


def test_one_diverged_seed_excludes_a_rate_that_still_counts_as_tried():
    runs = sweep({0.1: [0.5, 0.5], 1.0: [0.4, 0.4], 10.0: [0.01, None]})
    assert best_fixed_rate(runs) == BestRate(1.0, 0.4, interior=True)


def test_the_recorded_loss_of_a_diverged_run_does_not_count():
    runs = sweep({0.1: [0.5, 0.5], 1.0: [0.4, 0.4], 10.0: [0.01, None]})
    runs.loc[runs["status"] == "diverged", "final_train_loss"] = 0.0
    assert best_fixed_rate(runs) == BestRate(1.0, 0.4, interior=True)


@pytest.mark.parametrize(
    ("status", "loss", "expected"),
    [
        ("finished", 0.5, False),
        ("diverged", 0.5, True),
        ("finished", math.nan, True),
        ("finished", math.inf, True),
    ],
)
def test_a_run_diverged_if_its_status_says_so_or_its_final_loss_is_not_finite(
    status, loss, expected
):
    runs = pd.DataFrame({"status": [status], "final_train_loss": [loss]})
    assert diverged(runs).tolist() == [expected]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_finished_run_without_a_finite_loss_excludes_its_rate(loss):
    assert best_fixed_rate(sweep({0.1: [0.5, 0.5], 1.0: [0.1, loss]})).learning_rate == 0.1


def test_ties_go_to_the_smaller_rate():
    runs = sweep({1.0: [0.25, 0.75], 0.1: [0.5, 0.5], 0.01: [0.75, 0.25], 0.001: [1.0, 1.0]})
    assert best_fixed_rate(runs) == BestRate(0.01, 0.5, interior=True)


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


def test_there_is_no_best_rate_if_every_rate_diverged():
    assert best_fixed_rate(sweep({0.1: [None, 0.5], 1.0: [None, None]})) is None


@pytest.mark.parametrize("column", ["dataset", "model", "batch_size", "optimizer"])
def test_rows_of_two_sweeps_are_rejected(column):
    runs = sweep({0.1: [0.5], 1.0: [0.4]})
    with pytest.raises(ValueError, match="expected one sweep"):
        best_fixed_rate(pd.concat([runs, runs.assign(**{column: 128})]))


def test_runs_without_a_fixed_rate_are_rejected():
    with pytest.raises(ValueError, match="expected one sweep"):
        best_fixed_rate(sweep({0.1: [0.5], math.nan: [0.4]}))
