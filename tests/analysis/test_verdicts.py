"""The verdicts on the paper's claims, from curves small enough to judge by hand; and the committed ones, made again."""

import math
import os
import subprocess
import sys
from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml
from claim_tables import ROOT, SEEDS, call, claim, falling, judged, noise, sweep, write

from clr.analysis.verdicts import display as show
from clr.analysis.verdicts import rules, statistics
from clr.errors import UserError

# quicker


def test_clr_that_is_quicker_in_every_seed(tmp_path):
    row = claim(write(tmp_path, falling(1.5), sweep()), "quicker")
    # 0.9 of the way from 1 to 2^-18 is 2^-16.2, which SGD, at 2^-12 in the end, never reaches
    assert row["target_loss"] == pytest.approx(2**-16.2, rel=0.01)
    assert (row["steps"], row["samples"], row["seeds_reached"]) == (12, 12 * 64, 3)
    assert (row["baseline_steps"], row["baseline_seeds_reached"]) == (math.inf, 0)
    assert (row["ratio"], row["ratio_low"], row["ratio_high"], row["verdict"]) == (
        0,
        0,
        0,
        "reproduced",
    )
    assert (
        row["figure"] == "2"
        and row["baseline"] == "SGD at 0.1: lowest final loss of the 3 rates tried"
    )
    assert "CLR takes 12 steps, SGD at 0.1 never gets there" in row["reason"]


def test_clr_that_is_ahead_at_first_and_ends_higher_is_not_quicker_to_the_headline_target(tmp_path):
    clr = {seed: [1.0, 0.01, *[0.009] * 11] for seed in SEEDS}
    found = judged(write(tmp_path, clr, sweep()))
    (row,) = found["claims"].query("claim == 'quicker'and data != ''").to_dict("records")
    assert (row["ratio"], row["verdict"]) == (
        math.inf,
        "not reproduced",
    ) and "CLR never gets there" in row["reason"]
    # 2^-3, 2^-6, 2^-9 …: the first two targets come early, which the grid shows
    grid = found["targets"].query("pick == 'final loss'").set_index("fraction")["ratio"]
    assert grid.tolist() == pytest.approx([2 / 4, 2 / 7, math.inf, math.inf], rel=1e-5)


def test_equal_curves_tie(tmp_path):
    row = claim(write(tmp_path, falling(1), sweep()), "quicker")
    assert (row["ratio"], row["ratio_high"], row["verdict"]) == (1, 1, "not reproduced")


@pytest.mark.parametrize("draw", range(3))
def test_clr_and_the_baseline_in_each_others_place_invert_the_ratio(tmp_path, draw):
    one, two = (
        {s: falling(x)[s] for s, x in zip(SEEDS, noise(draw + i), strict=True)} for i in (0, 50)
    )
    there = claim(write(tmp_path / "a", one, {0.1: two}), "quicker")
    back = claim(write(tmp_path / "b", two, {0.1: one}), "quicker")
    assert there["target_loss"] == back["target_loss"]
    for name, other in (("ratio", "ratio"), ("ratio_low", "ratio_high")):
        inverse = 1 / back[other] if back[other] else math.inf
        assert there[name] == pytest.approx(inverse, rel=1e-5)


def test_a_diverged_seed_of_clr_counts_as_never(tmp_path):
    row = claim(write(tmp_path, falling(2) | {1: [1.0, 1e-9, None]}, sweep()), "quicker")
    assert (row["ratio_high"], row["verdict"], row["final_loss"]) == (
        math.inf,
        "not reproduced",
        math.inf,
    )
    assert row["seeds_reached"] == 2


def test_how_the_rate_is_picked_can_change_what_the_numbers_say(tmp_path):
    # 0.3 ends lowest, yet late; 0.1 is far down at once and has the smaller area; each step's best is the lower of both
    early = {s: [1.0, *[2.0**-9.1] * 12] for s in SEEDS}
    late = {s: [1.0] * 11 + [0.5, 2.0**-10] for s in SEEDS}
    row = claim(
        write(
            tmp_path,
            falling(1.0, 13),
            {0.01: falling(0.1), 0.1: early, 0.3: late, 1.0: falling(0.1)},
        ),
        "quicker",
    )
    # The target is 2^-10.8, after CLR's 2^-12; of the fixed rates none reaches it
    assert (row["baseline_rate"], row["rate_by_area"]) == (0.3, 0.1)
    assert row["ratio"] == row["ratio_by_area"] == row["ratio_each_step"] == 0
    assert "what the numbers say stays" in row["sensitivity"]
    slow = {s: [1.0, 0.5, *[2.0**-4] * 6, *[2.0**-9.5] * 5] for s in SEEDS}
    row = claim(
        write(tmp_path, slow, {0.01: falling(0.1), 0.1: early, 0.3: late, 1.0: falling(0.1)}),
        "quicker",
    )
    # The target is 2^-9: CLR takes 9 steps, 0.3 takes 13, 0.1 takes 2
    assert row["ratio"] == pytest.approx(9 / 13, rel=1e-5)
    assert row["ratio_by_area"] == row["ratio_each_step"] == pytest.approx(9 / 2)
    assert "what the numbers say changes with area and best at each step" in row["sensitivity"]


@pytest.mark.parametrize(
    ("edge", "verdict"), [(0.01, "not tested at this scale"), (1.0, "not tested at this scale")]
)
def test_a_rate_at_the_edge_of_the_sweep_takes_a_success_back(tmp_path, edge, verdict):
    rates = {rate: falling(1 if rate == edge else 0.5) for rate in (0.01, 0.1, 1.0)}
    row = claim(write(tmp_path, falling(1.5), rates), "quicker")
    assert (row["verdict"], row["by_numbers"]) == (
        verdict,
        "reproduced",
    ) and "edge of the sweep" in row["reason"]
    # A loss to it stays one: a better rate beyond the edge would only win by more
    assert claim(write(tmp_path, falling(0.7), rates), "quicker")["verdict"] == "not reproduced"


def test_without_a_rate_that_survives_there_is_nothing_to_compare(tmp_path):
    row = claim(write(tmp_path, falling(1), {0.1: {s: [1.0, None] for s in SEEDS}}), "quicker")
    assert (row["verdict"], row["by_numbers"]) == ("not tested at this scale", "") and math.isnan(
        row["ratio"]
    )
    assert row["reason"] == "Every fixed rate of SGD diverged."
    assert (
        claim(write(tmp_path, falling(1), {}), "quicker")["reason"]
        == "No fixed rate of SGD was run."
    )


# When runs are no test


@pytest.mark.parametrize(
    ("label", "tested"),
    [
        ("CIFAR-10", True),
        ("CIFAR-10 (JPEG copy), 5,000 images", True),
        ("ImageNet, 1,000 images", True),
        ("CIFAR-100", False),
        ("digits (scikit-learn)", False),
        ("Imagenette (stand-in for ImageNet)", False),
    ],
)
def test_other_data_is_no_test(tmp_path, label, tested):
    row = claim(write(tmp_path, falling(1.5), sweep(), label=label), "quicker")
    assert (row["verdict"] == "reproduced") == tested and row["by_numbers"] == "reproduced"
    assert ("not on the paper's data" in row["reason"]) != tested


def test_fewer_seeds_of_any_curve_are_no_test(tmp_path):
    for clr, sgd in (
        (falling(1.5, seeds=(0, 1)), sweep()),
        (falling(1.5), sweep() | {1.0: falling(0.3, seeds=(0,))}),
    ):
        row = claim(write(tmp_path, clr, sgd), "quicker")
        assert row["verdict"] == "not tested at this scale" and "of 3 seeds" in row["reason"]
    row = claim(
        write(tmp_path, falling(1.5, seeds=(0,)), {0.1: falling(1, seeds=(0,))}), "converges"
    )
    assert math.isnan(row["ratio_low"]) and row["by_numbers"] == "reproduced"


def test_a_rate_whose_runs_are_all_missing_is_noticed(tmp_path):
    lost = [f"cifar10-resnet18-b64-sgd1-s{seed}-hash" for seed in SEEDS]
    row = claim(write(tmp_path, falling(1.5), sweep(), lost=lost), "converges")
    assert (
        row["verdict"] == "not tested at this scale"
        and "3 runs are still to be made" in row["reason"]
    )


def test_where_nobody_leaves_the_start_a_scaled_down_protocol_tests_nothing(tmp_path):
    still = {s: [1.0, *[0.9] * 12] for s in SEEDS}
    for name, scaled in product(("converges", "quicker", "adapts"), (True, False)):
        row = claim(write(tmp_path, still, {0.1: still}, scaled=scaled), name)
        assert ("no optimizer leaves its start" in row["reason"]) == scaled
        assert row["verdict"] == ("not tested at this scale" if scaled else "not reproduced")
    # If a fixed rate does, it can be left, and CLR's failure is one
    row = claim(write(tmp_path, still, {0.1: falling(1)}, scaled=True), "converges")
    assert row["verdict"] == "not reproduced"


def test_a_figure_that_was_not_run_has_a_row_that_says_so(tmp_path):
    claims = judged(write(tmp_path, falling(1), sweep(), figures=(2, 4)))["claims"]
    absent = claims[claims["data"] == ""].set_index(["claim", "figure"])
    assert set(absent.index) == {
        *(("converges", str(n)) for n in (3, 5, 6, 7, 8)),
        *(("quicker", str(n)) for n in (6, 7, 8)),
        ("adapts", "9"),
        ("cap", "9"),
    }
    assert set(absent["verdict"]) == {"not tested at this scale"}
    named = pd.read_csv(tmp_path / "figure_runs.csv")
    other = pd.DataFrame(
        [(3, f"imagenet-resnet50-b{b}-clr-s0-hash") for b in (32, 64)], columns=["figure", "run_id"]
    )
    pd.concat([named, other]).to_csv(tmp_path / "figure_runs.csv", index=False)
    claims = judged(tmp_path)["claims"].query("figure == '3'")
    assert claims["reason"].tolist() == [
        f"2 runs of Figure 3 are still to be made: make reproduce PROTOCOL={tmp_path.name}."
    ]


# converges, adapts, cap


def test_converges_by_the_part_of_the_loss_that_is_left(tmp_path):
    assert (
        claim(write(tmp_path, falling(0.2), sweep()), "converges")["verdict"] == "reproduced"
    )  # 2^-2.4
    row = claim(write(tmp_path, falling(0.1), sweep()), "converges")
    assert (
        row["ratio"] == pytest.approx(0.999 * 2**-1.2, rel=1e-5)
        and row["verdict"] == "not reproduced"
    )
    # Scaled down, a loss that still falls was cut off by the budget
    row = claim(write(tmp_path, falling(0.1), sweep(), scaled=True), "converges")
    assert row["verdict"] == "not tested at this scale" and "still falls" in row["reason"]
    stuck = {s: [*falling(0.2)[s][:6], *[0.45] * 7] for s in SEEDS}
    assert (
        claim(write(tmp_path, stuck, sweep(), scaled=True), "converges")["verdict"]
        == "not reproduced"
    )
    row = claim(
        write(tmp_path, falling(1) | {2: [1.0, 0.1, None]}, sweep(), scaled=True), "converges"
    )
    assert row["verdict"] == "not reproduced" and "1 seeds diverge" in row["reason"]


def test_adapts_if_the_rate_moves_further_than_chance(tmp_path):
    grow = list(np.geomspace(0.001, 1, 60))
    row = claim(write(tmp_path, falling(0.2, 60), {0.1: falling(0.2, 60)}, rates=grow), "adapts")
    low, high = statistics.extremes(np.array(grow), 10)
    assert row["ratio"] == pytest.approx(high / low, rel=1e-5) and row["verdict"] == "reproduced"
    assert row["chance"] == 0.005
    shuffled = list(np.random.default_rng(0).permutation(grow))
    row = claim(
        write(tmp_path, falling(0.2, 60), {0.1: falling(0.2, 60)}, rates=shuffled), "adapts"
    )
    assert row["ratio_low"] > 2 and row["chance"] > 0.05 and row["verdict"] == "not reproduced"
    row = claim(write(tmp_path, falling(0.2, 60), {0.1: falling(0.2, 60)}), "adapts")
    assert (row["ratio"], row["verdict"]) == (1, "not reproduced")


def test_the_cap_is_met_where_there_is_one_and_nowhere_else_passed(tmp_path):
    low, met = [0.1] * 13, [0.1] * 12 + [10.0]
    imagenet = {"label": "ImageNet", "max_lr": 10.0}
    assert (
        claim(write(tmp_path, falling(1), sweep(), rates=met, **imagenet), "cap")["verdict"]
        == "reproduced"
    )
    assert (
        claim(write(tmp_path, falling(1), sweep(), rates=low, **imagenet), "cap")["verdict"]
        == "not reproduced"
    )
    row = claim(write(tmp_path, falling(1), sweep(), rates=low, scaled=True, **imagenet), "cap")
    assert row["verdict"] == "not tested at this scale" and "longer training" in row["reason"]
    row = claim(write(tmp_path, falling(1), sweep(), rates=low), "cap")
    assert row["verdict"] == "reproduced" and row["ratio"] == pytest.approx(0.01)
    assert (
        claim(write(tmp_path, falling(1), sweep(), rates=met), "cap")["verdict"] == "not reproduced"
    )


# The rules, the tables, the doors


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"quicker": {"figures": [2], "targets": [0.5], "headline": 0.9}},
            "headline=0.9 is none of quicker.targets",
        ),
        ({"optimiser": "clr"}, "optimiser"),
        ({"window_epochs": "one"}, "one"),
    ],
)
def test_mistakes_in_the_rules_are_named(tmp_path, change, told):
    written = yaml.safe_load((ROOT / "configs" / "claims.yaml").read_text())
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(written | change))
    with pytest.raises(UserError, match=told):
        rules.load(tmp_path / "claims.yaml")


COMMITTED = sorted(path.parent for path in (ROOT / "results").glob("*/claims.csv"))


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda path: path.name)
def test_committed_verdicts_follow_from_the_committed_records(folder):
    for name, made in judged(folder).items():
        assert (folder / f"{name}.csv").read_text() == made.to_csv(index=False)
        pd.testing.assert_frame_equal(
            pd.read_parquet(folder / f"{name}.parquet"), made, check_exact=True
        )


def test_every_committed_protocol_has_verdicts():
    assert sorted(path.parent for path in (ROOT / "results").glob("*/runs.csv")) == COMMITTED


def test_the_readme_shows_the_committed_verdicts():
    claims = pd.read_parquet(ROOT / "results" / "cpu" / "claims.parquet")
    assert show.markdown(claims) in (ROOT / "README.md").read_text()


def test_the_door_writes_the_tables_and_prints_rule_and_verdict(tmp_path):
    folder = write(tmp_path / "mine", falling(1.5), sweep())
    called = [sys.executable, "scripts/claims.py", str(folder)]
    done = subprocess.run(
        called, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "reproduced if the ratio, by its upper end, is below 1" in " ".join(done.stdout.split())
    assert done.stdout.endswith(
        f"1 not reproduced, 10 not tested at this scale, 3 reproduced; tables in {folder}\n"
    )
    for name, made in judged(folder).items():
        assert (folder / f"{name}.csv").read_text() == made.to_csv(index=False)
        assert (folder / f"{name}.parquet").is_file()


def test_the_readmes_table_is_printed_and_nothing_is_written(tmp_path, capsys):
    folder = write(tmp_path / "mine", falling(1.5), sweep())
    assert call("claims", folder, "--markdown") == 0 and not (folder / "claims.csv").exists()
    printed = capsys.readouterr().out.splitlines()
    row = "| cap | 4 | CIFAR-10, ResNet-18, 64 | reproduced | The largest rate is 0.1 to 0.1. |"
    assert row in printed and len(printed) == 2 + 4


def test_missing_tables_are_one_line_with_the_remedy(tmp_path, capsys):
    assert call("claims", tmp_path / "quick") == 2
    told = capsys.readouterr()
    assert "is missing; make it with: make reproduce PROTOCOL=quick" in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)
