"""Results of the arena, computed by hand: tuned choice, paired intervals, targets and profiles."""

import math

import numpy as np
import pandas as pd
import pytest
from arena_tables import ending, run_id, write_arena

from clr.analysis import tables as figure_tables
from clr.analysis.arena.table import arena_tables, read_arena
from clr.analysis.arena.targets import profile
from clr.analysis.verdicts import evidence, rules
from clr.errors import UserError

SGD = {0.1: ending(2, 2, 2), 0.3: ending(1, 1, 1), 1.0: ending(0.5, 0.5, None)}
CLR = {None: ending(2, 4, 8)}
GRID = {"key": "c", "values": [1, 2], "default": 2}
T_QUANTILE = 4.302653  # of Student's t with 2 degrees of freedom at 97.5%


def built(folder, methods, grids=None, missing=()):
    written = write_arena(folder, {64: methods}, grids, missing)
    return arena_tables(read_arena(written), rules.load())


def result(tables, optimizer, tuning="tuned"):
    table = tables["arena"]
    (row,) = table[(table["optimizer"] == optimizer) & (table["tuning"] == tuning)].to_dict(
        "records"
    )
    return row


def test_the_tuned_value_has_the_lowest_mean_loss_of_those_without_divergence(tmp_path):
    tables = built(tmp_path / "arena", {"sgd": SGD, "clr": CLR})
    tuned, default = result(tables, "sgd"), result(tables, "sgd", "default")
    assert (tuned["value"], tuned["final_loss"], tuned["values"]) == (0.3, 1, 3)
    assert (default["value"], default["final_loss"], default["values"]) == (0.1, 2, 1)
    assert not tuned["at_edge"]
    values = tables["arena_values"].set_index("value")
    assert values["diverged"].to_dict() == {0.1: 0, 0.3: 0, 1.0: 1}
    assert math.isinf(values.loc[1.0, "final_loss"])
    assert values.index[values["is_tuned"]].tolist() == [0.3]
    assert values.index[values["is_default"]].tolist() == [0.1]


def test_the_spread_over_the_seeds(tmp_path):
    row = result(built(tmp_path / "arena", {"sgd": SGD, "clr": CLR}), "clr", "default")
    assert [row[f"final_loss{end}"] for end in ("", "_low", "_high")] == pytest.approx(
        [14 / 3, 2, 8], rel=1e-5
    )
    accuracies = [row[f"final_accuracy{end}"] for end in ("", "_low", "_high")]
    assert accuracies == pytest.approx([0.6, 0.5, 0.7])


def test_the_interval_is_students_t_on_the_paired_log_ratios(tmp_path):
    """The log ratios are 1, 2 and 3 times log 2: mean 2, standard deviation 1, times log 2."""
    row = result(built(tmp_path / "arena", {"sgd": SGD, "clr": CLR}), "clr", "default")
    half = T_QUANTILE / math.sqrt(3)
    assert row["over_sgd"] == pytest.approx(2**2, rel=1e-5)
    assert row["over_sgd_low"] == pytest.approx(2 ** (2 - half), rel=1e-4)
    assert row["over_sgd_high"] == pytest.approx(2 ** (2 + half), rel=1e-4)
    # Every seed is worse, and yet three seeds so far apart decide nothing.
    assert row["over_sgd_low"] < 1
    assert row["standing_sgd"] == "undecided"
    assert row["standing_clr"] == ""


@pytest.mark.parametrize(
    ("losses", "standing"),
    [
        (ending(2.0, 2.1, 2.2), "worse"),
        (ending(0.5, 0.49, 0.48), "better"),
        (ending(0.9, 1.0, 1.1), "undecided"),
        (ending(0.1, 0.1, None), "diverged"),
    ],
)
def test_the_standing_against_the_best_fixed_rate(tmp_path, losses, standing):
    row = result(built(tmp_path / "arena", {"sgd": SGD, "adam": {None: losses}}), "adam", "default")
    assert row["standing_sgd"] == standing
    assert row["diverged"] == (standing == "diverged")


def test_runs_are_paired_by_seed(tmp_path):
    """Unpaired, losses that vary by a factor of 100 over the seeds would hide 10%."""
    sgd = {0.1: ending(0.01, 0.1, 1.0)}
    adam = {None: ending(0.011, 0.11, 1.1001)}
    row = result(built(tmp_path / "arena", {"sgd": sgd, "adam": adam}), "adam", "default")
    assert row["standing_sgd"] == "worse"


def test_a_single_seed_decides_nothing(tmp_path):
    methods = {"sgd": {0.1: ending(1)}, "adam": {None: ending(0.1)}}
    row = result(built(tmp_path / "arena", methods), "adam", "default")
    assert (row["over_sgd"], row["standing_sgd"]) == (pytest.approx(0.1), "undecided")


def test_a_method_that_diverges_at_every_value_is_a_result(tmp_path):
    lost = {1: ending(None, 1, 1), 2: ending(1, None, None)}
    methods = {"sgd": SGD, "clr": CLR, "alig": lost}
    tables = built(tmp_path / "arena", methods, {"alig": GRID})
    row = result(tables, "alig")
    assert (row["standing_sgd"], row["runs"], row["diverged"]) == ("diverged", 6, 3)
    assert math.isinf(row["final_loss"])
    assert math.isnan(row["value"])
    assert "alig" not in set(tables["arena_race"]["optimizer"])


def test_a_default_outside_the_grid_is_not_a_choice_of_tuning(tmp_path):
    grid = GRID | {"default": 9}
    curves = {1: ending(2, 2, 2), 2: ending(3, 3, 3), 9: ending(1, 1, 1)}
    tables = built(tmp_path / "arena", {"sgd": SGD, "alig": curves}, {"alig": grid})
    assert (result(tables, "alig")["value"], result(tables, "alig")["at_edge"]) == (1, True)
    assert result(tables, "alig", "default")["final_loss"] == 1
    values = tables["arena_values"]
    assert values[values["optimizer"] == "alig"]["in_grid"].tolist() == [True, True, False]


def test_a_seed_that_a_value_lacks_does_not_decide_the_choice(tmp_path):
    """Seed 2 is hard: by the mean over what is there, 2 would be better than 1."""
    curves = {1: ending(1, 1, 9), 2: ending(2, 2, 9)}
    missing = [run_id(64, "alig", 2, 2)]
    tables = built(tmp_path / "arena", {"sgd": SGD, "alig": curves}, {"alig": GRID}, missing)
    assert (result(tables, "alig")["value"], result(tables, "alig")["runs"]) == (1, 2)


def test_a_value_outside_the_grid_that_lacks_a_seed_leaves_the_others_as_they_are(tmp_path):
    grid = GRID | {"default": 9}
    curves = {1: ending(2, 2, 2), 2: ending(3, 3, 3), 9: ending(1, 1, 1)}
    missing = [run_id(64, "alig", 9, 2)]
    tables = built(tmp_path / "arena", {"sgd": SGD, "alig": curves}, {"alig": grid}, missing)
    own = tables["arena"][tables["arena"]["optimizer"] == "alig"]
    assert own[["tuning", "value", "runs"]].to_numpy().tolist() == [["tuned", 1, 3]]


def halving(steps, factor=0.5):
    """Losses by seed from 1, multiplied by the factor at each step."""
    return {seed: [factor**step for step in range(steps)] for seed in (0, 1)}


def test_steps_to_the_targets_over_the_best_method(tmp_path):
    """SGD ends at 2^-8: the targets are 2^-4, 2^-6 and 2^-7.2, at steps 5, 7 and 9 (of 0.5)."""
    methods = {
        "sgd": {0.1: halving(9)},
        "adam": {None: halving(9, 0.25)},
        "clr": {None: halving(9, 2**-0.8)},
    }
    table = built(tmp_path / "arena", methods)["arena_targets"]
    own = table[(table["tuning"] == "tuned") & (table["seed"] == 1)].set_index("optimizer")
    assert own.loc["sgd", "target_loss"].tolist() == pytest.approx([2**-4, 2**-6, 2**-7.2], 1e-5)
    assert own.loc["sgd", "steps"].tolist() == [5, 7, 9]
    assert own.loc["adam", "steps"].tolist() == [3, 4, 5]
    # CLR is at 2^-6.4 after 8 steps.
    assert own.loc["clr", "steps"].tolist() == [6, 9, math.inf]
    assert own.loc["adam", "over_best"].tolist() == [1, 1, 1]
    assert own.loc["sgd", "over_best"].tolist() == pytest.approx([5 / 3, 7 / 4, 9 / 5], rel=1e-5)
    assert own.loc["clr", "over_best"].tolist() == [2, 2.25, math.inf]


def test_the_values_of_a_profile():
    factors, shares = profile([1, 1, 1.5, 3, math.inf])
    assert factors.tolist() == [1, 1.5, 3]
    assert shares.tolist() == pytest.approx([0.4, 0.6, 0.8])
    factors, shares = profile([2, math.inf])
    assert (factors.tolist(), shares.tolist()) == ([1, 2], [0, 0.5])
    factors, shares = profile([math.inf])
    assert (factors.tolist(), shares.tolist()) == ([1], [0])


def test_the_race_against_the_best_fixed_rate(tmp_path):
    methods = {"sgd": {0.1: halving(9)}, "adam": {None: halving(9, 0.25)}}
    table = built(tmp_path / "arena", methods)["arena_race"]
    assert len(table) == rules.load().quicker.targets
    # The end of Adam, 2^-16: half of the way is 2^-8, which SGD reaches at its last step.
    half = table[np.isclose(table["fraction"], 0.5)].iloc[0]
    assert (half["steps"], half["baseline_steps"]) == (5, 9)
    assert half["ratio"] == pytest.approx(5 / 9, rel=1e-5)
    assert half["lead"] == "leads"


def test_settings_are_compared_apart(tmp_path):
    fast, slow = ending(0.5, 0.49, 0.48), ending(2.0, 2.1, 2.2)
    folder = write_arena(
        tmp_path / "arena",
        {b: {"sgd": SGD, "adam": {None: own}} for b, own in ((32, fast), (64, slow))},
    )
    table = arena_tables(read_arena(folder), rules.load())["arena"]
    own = table[table["optimizer"] == "adam"].set_index("batch_size")
    assert own["standing_sgd"].to_dict() == {32: "better", 64: "worse"}


def test_the_verdicts_ignore_runs_of_the_arena(tmp_path):
    folder = write_arena(tmp_path / "arena", {64: {"sgd": SGD, "clr": CLR}})
    with pytest.raises(UserError, match="no completed run"):
        evidence.read(folder, 1.0)
    path = folder / "figure_runs.csv"
    needed = pd.read_csv(path)
    both = needed[needed["run_id"].str.contains("clr|0.1")].assign(figure="2")
    pd.concat([needed, both]).to_csv(path, index=False)
    (scope,) = evidence.read(folder, 1.0).scopes
    assert set(scope.runs) == set(both["run_id"])
    assert figure_tables.read(folder)["arena"].planned == 12


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("protocol.json", '{"name": "a", "title": "", "scaled": true}', "protocol.json lacks met"),
        ("figure_runs.csv", "figure,task,run_id\n2,arena,x\n", "has no runs of the arena; train"),
    ],
)
def test_tables_without_an_arena_are_one_line(tmp_path, name, damage, message):
    folder = write_arena(tmp_path / "arena", {64: {"sgd": SGD, "clr": CLR}})
    (folder / name).write_text(damage)
    with pytest.raises(UserError, match=message):
        arena_tables(read_arena(folder), rules.load())
