"""Runs that do not test a claim: other data, missing runs or seeds, no progress, no figure."""

import math

import pandas as pd
import pytest
from claim_tables import SEEDS, Setting, claim, constant, falling, judge, run_id, sweep, write

NOT_TESTED = "not tested at this scale"
NO_PROGRESS = "no optimizer made progress: the best final loss is 0.90× the initial loss"


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
def test_only_the_papers_data_is_a_test(tmp_path, label, tested):
    row = claim(write(tmp_path, falling(1.5), sweep(), Setting(label=label)), "quicker")
    assert row["by_numbers"] == "reproduced"
    assert row["verdict"] == ("reproduced" if tested else NOT_TESTED)
    assert ("the data is not the paper's" in row["reason"]) != tested


@pytest.mark.parametrize(
    ("clr", "sgd"),
    [
        (falling(1.5, seeds=(0, 1)), sweep()),
        (falling(1.5), sweep() | {1.0: falling(0.3, seeds=(0,))}),
    ],
)
def test_too_few_seeds_of_any_curve_are_not_a_test(tmp_path, clr, sgd):
    row = claim(write(tmp_path, clr, sgd), "quicker")
    assert row["verdict"] == NOT_TESTED
    assert "of 3 seeds" in row["reason"]


def test_a_single_seed_has_a_finding_without_an_interval(tmp_path):
    folder = write(tmp_path, falling(1.5, seeds=(0,)), {0.1: falling(1, seeds=(0,))})
    row = claim(folder, "converges")
    assert math.isnan(row["ratio_low"])
    assert row["by_numbers"] == "reproduced"


def test_missing_runs_of_a_rate_are_counted(tmp_path):
    missing = tuple(run_id("sgd", 1.0, seed) for seed in SEEDS)
    row = claim(write(tmp_path, falling(1.5), sweep(), Setting(missing=missing)), "converges")
    assert row["verdict"] == NOT_TESTED
    assert "3 runs are missing" in row["reason"]


@pytest.mark.parametrize("name", ["converges", "quicker", "adapts"])
@pytest.mark.parametrize("scaled", [True, False])
def test_without_any_progress_a_scaled_down_protocol_is_not_a_test(tmp_path, name, scaled):
    flat = constant([1.0, *[0.9] * 12])
    row = claim(write(tmp_path, flat, {0.1: flat}, Setting(scaled=scaled)), name)
    assert (NO_PROGRESS in row["reason"]) == scaled
    assert row["verdict"] == (NOT_TESTED if scaled else "not reproduced")


def test_if_a_fixed_rate_makes_progress_a_failure_of_clr_counts(tmp_path):
    flat = constant([1.0, *[0.9] * 12])
    row = claim(write(tmp_path, flat, {0.1: falling(1)}, Setting(scaled=True)), "converges")
    assert row["verdict"] == "not reproduced"


@pytest.mark.parametrize("losses", [[1.0, None], [None]])
def test_if_every_curve_diverges_a_scaled_down_protocol_is_not_a_test(tmp_path, losses):
    diverged = constant(losses)
    row = claim(write(tmp_path, diverged, {0.1: diverged}, Setting(scaled=True)), "converges")
    assert row["verdict"] == NOT_TESTED
    assert "3 of 3 seeds diverged" in row["reason"]
    assert "every curve has a diverged run" in row["reason"]


def test_a_claim_about_a_figure_without_runs_has_a_row_without_scope(tmp_path):
    claims = judge(write(tmp_path, falling(1), sweep()))["claims"]
    absent = claims[claims["data"] == ""]
    assert set(zip(absent["claim"], absent["figure"], strict=True)) == {
        *(("converges", str(n)) for n in (3, 5, 6, 7, 8)),
        *(("quicker", str(n)) for n in (6, 7, 8)),
        ("adapts", "9"),
        ("cap", "9"),
    }
    assert set(absent["verdict"]) == {NOT_TESTED}


def test_a_figure_of_the_protocol_that_was_not_trained_is_not_called_absent_from_it(tmp_path):
    claims = judge(write(tmp_path / "quick", falling(1), sweep()))["claims"]
    reasons = claims[claims["data"] == ""].set_index("figure")["reason"]
    assert reasons["9"].tolist() == ["Figure 9 has no runs in these results."] * 2
    assert reasons["5"] == "The protocol quick does not include Figure 5."


def test_missing_runs_of_an_unknown_scope_are_reported_with_the_command(tmp_path):
    write(tmp_path, falling(1), sweep())
    needed = pd.read_csv(tmp_path / "figure_runs.csv")
    names = [f"imagenet-resnet50-b{size}-clr-s0-hash" for size in (32, 64)]
    missing = pd.DataFrame({"figure": 3, "run_id": names})
    pd.concat([needed, missing]).to_csv(tmp_path / "figure_runs.csv", index=False)
    reasons = judge(tmp_path)["claims"].query("figure == '3'")["reason"].tolist()
    command = f"make reproduce PROTOCOL={tmp_path.name}"
    assert reasons == [f"2 runs of Figure 3 are missing; train them with: {command}."]
