"""The race: trailing loss, steps to a loss, targets, and the ratio of the steps at each target."""

import math

import numpy as np
import pandas as pd
import pytest

from clr.analysis.race import (
    LossCurve,
    equal_fractions,
    loss_curve,
    race,
    race_targets,
    steps_to,
    target_losses,
)


def run_row(steps_per_epoch, diverged=False):
    """Row of runs.csv; the last 5 images of an epoch are dropped."""
    num_train = 64 * steps_per_epoch + 5
    return pd.Series({"seed": 3, "diverged": diverged, "num_train": num_train, "batch_size": 64})


def curve(losses, seed=0, diverged=False):
    values = np.array(losses, dtype=float)
    return LossCurve(seed, diverged, values, values)


def halving(steps, seed=0, per_step=1.0):
    """Losses 1, 2^−p, 2^−2p, … for p = `per_step`."""
    return curve([2.0 ** (-per_step * step) for step in range(steps)], seed)


def recorded(losses):
    """Rows of steps.parquet, the last step first."""
    table = pd.DataFrame({"step": range(1, len(losses) + 1), "loss": losses})
    return table[::-1]


# Single runs


def test_the_trailing_loss_is_the_mean_over_the_epoch_that_ends_with_the_step():
    losses = [8.0, 4.0, 3.0, 2.0, 1.0]
    found = loss_curve(run_row(3), recorded(losses), 1.0)
    assert found.loss.tolist() == losses
    assert found.trailing_loss == pytest.approx([8, 6, 5, 3, 2])
    assert (found.seed, found.end) == (3, 2)


def test_the_window_is_given_in_epochs_and_has_at_least_one_step():
    run = run_row(4)
    assert loss_curve(run, recorded([4.0, 2.0]), 0.5).trailing_loss.tolist() == [4, 3]
    assert loss_curve(run, recorded([4.0, 2.0]), 0.01).trailing_loss.tolist() == [4, 2]


def test_a_diverged_run_has_an_infinite_end_and_finite_means_before_it():
    found = loss_curve(run_row(2, diverged=True), recorded([4.0, 2.0, math.inf]), 1.0)
    assert found.trailing_loss.tolist() == [4, 3, 2]
    assert found.end == math.inf


def test_steps_to_a_loss_count_from_one():
    curves = [halving(8, seed) for seed in (0, 1)]
    assert steps_to(curves, 1.0).tolist() == [1, 1]
    assert steps_to(curves, 0.3).tolist() == [3, 3]
    assert steps_to(curves, 2.0**-8).tolist() == [math.inf] * 2


def test_the_fastest_of_several_runs_of_a_seed_counts():
    curves = [halving(8, seed=5), halving(8, seed=5, per_step=2)]
    assert steps_to(curves, 2.0**-6).to_dict() == {5: 4}


def test_a_diverged_run_never_reaches_a_loss_that_it_passed():
    assert steps_to([curve([1, 1e-9], diverged=True)], 0.5).tolist() == [math.inf]


# Targets


def test_targets_are_equal_distances_apart_in_the_logarithm_and_the_last_is_the_end():
    assert equal_fractions(4) == [0.25, 0.5, 0.75, 1]
    assert target_losses(16, 1, equal_fractions(4)) == pytest.approx([8, 4, 2, 1])
    assert target_losses(2.3, 0.1 + 0.2, [1])[0] == 0.1 + 0.2


def ends_at(*losses):
    """Curves from 1 to these losses in three steps, one per seed."""
    return [curve([1, (1 + loss) / 2, loss], seed) for seed, loss in enumerate(losses)]


def test_targets_end_where_every_seed_of_the_better_optimizer_arrives():
    better, other = ends_at(0.1, 0.3, 0.2), ends_at(0.05, 0.6, 0.7)
    targets = race_targets(better, other, [0.5, 1])
    assert targets["target_loss"].tolist() == pytest.approx([0.3**0.5, 0.3])
    assert race_targets(other, better, [0.5, 1]).equals(targets)
    assert race(better, other, targets, 0.95)["seeds_reached"].tolist() == [3, 3]


def test_at_the_end_the_ratio_is_0_or_infinite_unless_seeds_overlap():
    better, other = ends_at(0.1, 0.3, 0.2), ends_at(0.5, 0.6, 0.7)
    targets = race_targets(better, other, [1])
    columns = ["ratio", "ratio_low", "ratio_high"]
    assert race(better, other, targets, 0.95)[columns].to_numpy().tolist() == [[0, 0, 0]]
    assert race(other, better, targets, 0.95)[columns].to_numpy().tolist() == [[math.inf] * 3]
    overlapping = ends_at(0.5, 0.25, 0.7)
    (row,) = race(better, overlapping, targets, 0.95)[columns].to_numpy().tolist()
    assert row == [0, 0, 1]


def test_a_diverged_seed_leaves_the_end_to_the_other_optimizer():
    diverged = [curve([1, 1e-9], diverged=True), halving(9, seed=1)]
    targets = race_targets(diverged, [halving(4), halving(4, seed=1)], [1])
    assert targets["target_loss"].tolist() == [2.0**-3]


# The race


def test_the_race_has_steps_and_ratio_of_each_target():
    own, other = [halving(9, seed, 2) for seed in (0, 1)], [halving(9, seed) for seed in (0, 1)]
    targets = pd.DataFrame({"fraction": [0.1, 0.2], "target_loss": [2.0**-4, 2.0**-9]})
    first, second = race(own, other, targets, 0.95).to_dict("records")
    assert (first["fraction"], first["target_loss"]) == (0.1, 2.0**-4)
    assert (first["steps"], first["baseline_steps"]) == (3, 5)
    assert (first["ratio"], first["ratio_low"], first["ratio_high"]) == pytest.approx((0.6,) * 3)
    assert (first["seeds_reached"], first["baseline_seeds_reached"]) == (2, 2)
    assert (second["steps"], second["baseline_steps"], second["ratio"]) == (6, math.inf, 0)
    assert (second["seeds_reached"], second["baseline_seeds_reached"]) == (2, 0)


def test_a_race_has_the_spread_of_the_steps_over_the_seeds():
    own = [halving(9, 0, 1), halving(9, 1, 2), halving(9, 2, 0.5)]
    targets = pd.DataFrame({"fraction": [0.5], "target_loss": [2.0**-4]})
    (row,) = race(own, own, targets, 0.95).to_dict("records")
    assert (row["steps_low"], row["steps"], row["steps_high"]) == (3, 5, 9)
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (1, 1, 1)
