"""Verdicts on the paper's claims, from curves simple enough to judge by hand."""

import math

import numpy as np
import pytest
from claim_tables import SEEDS, Setting, claim, constant, falling, judge, noise, sweep, write

from clr.analysis.verdicts import statistics

NOT_TESTED = "not tested at this scale"


# quicker


def test_clr_that_is_faster_in_every_seed_is_reproduced(tmp_path):
    row = claim(write(tmp_path, falling(1.5), sweep()), "quicker")
    # 0.9 of the way from 1 to 2^-18 is 2^-16.2, which SGD, at 2^-12 in the end, does not reach.
    assert row["target_loss"] == pytest.approx(2**-16.2, rel=0.01)
    assert (row["steps"], row["samples"], row["seeds_reached"]) == (12, 12 * 64, 3)
    assert (row["baseline_steps"], row["baseline_seeds_reached"]) == (math.inf, 0)
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (0, 0, 0)
    assert row["verdict"] == "reproduced"
    assert row["figure"] == "2"
    assert row["baseline"] == "SGD at 0.1: lowest final loss of the 3 rates tried"


def test_the_reason_names_the_course_of_the_race_steps_and_final_losses(tmp_path):
    reason = claim(write(tmp_path, falling(1.5), sweep()), "quicker")["reason"]
    # The first targets are 2^-0.9 and 2^-1.8, which both reach in steps 2 and 3.
    assert reason == (
        "Training loss: CLR leads from 0.154 to 3.81e-06; "
        "target 1.33e-05: reached by CLR in 12 steps, not reached by SGD at 0.1; "
        "final losses: 3.81e-06 (3.81e-06–3.81e-06) for CLR, "
        "0.000244 (0.000244–0.000244) for SGD at 0.1."
    )


def test_the_reason_says_in_how_many_seeds_a_target_is_reached(tmp_path):
    reason = claim(write(tmp_path, falling(2) | {1: falling(0.5)[1]}, sweep()), "quicker")["reason"]
    assert "reached by CLR in 7 steps at the earliest, in 2 seeds only" in reason


def test_no_text_of_a_verdict_has_an_infinity_sign(tmp_path):
    losses = falling(2) | {1: [1.0, 1e-9, None]}
    claims = judge(write(tmp_path, losses, sweep()))["claims"]
    for column in ("reason", "sensitivity", "statement"):
        assert not claims[column].str.contains("∞|inf|nan").any(), column


def quicker_tables(folder):
    """Row of the claim, and its rows of `targets` by fraction."""
    tables = judge(folder)
    (row,) = tables["claims"].query("claim == 'quicker' and data != ''").to_dict("records")
    return row, tables["targets"].query("pick == 'final loss'").set_index("fraction")


def test_clr_that_leads_at_most_targets_but_not_near_the_end_is_not_faster(tmp_path):
    folder = write(tmp_path, constant([1.0, 0.01, *[0.009] * 11]), sweep())
    row, targets = quicker_tables(folder)
    assert (row["ratio"], row["verdict"]) == (math.inf, "not reproduced")
    # The targets are 2^-0.6, 2^-1.2, …: both reach the first in step 2, and CLR ends at 2^-6.8.
    assert targets["lead"].tolist() == ["neither", *["leads"] * 10, *["loses"] * 9]
    assert targets["ratio"].iloc[[1, -1]].tolist() == pytest.approx([2 / 3, math.inf], rel=1e-5)
    assert (row["targets_led"], row["targets_lost"]) == (10, 9)
    assert "CLR leads from 0.435 to 0.0103, loses from 0.0068 to 0.000244" in row["reason"]
    assert "not reached by CLR" in row["reason"]


def test_clr_that_leads_near_the_end_but_loses_at_most_targets_is_not_faster(tmp_path):
    row, targets = quicker_tables(write(tmp_path, constant([1.0] * 9 + [2.0**-13] * 4), sweep()))
    # CLR reaches all targets in step 10, SGD reaches 2^-k in step k + 1.
    assert targets["lead"].tolist() == [*["loses"] * 12, "neither", *["leads"] * 7]
    assert row["ratio_high"] < 1
    assert row["verdict"] == "not reproduced"


def test_clr_that_loses_early_leads_later_and_at_most_targets_is_faster(tmp_path):
    row, targets = quicker_tables(write(tmp_path, constant([1.0] * 4 + [2.0**-13] * 9), sweep()))
    assert targets["lead"].value_counts().to_dict() == {"leads": 14, "loses": 4, "neither": 2}
    assert row["verdict"] == "reproduced"


def test_equal_curves_are_not_reproduced(tmp_path):
    row = claim(write(tmp_path, falling(1), sweep()), "quicker")
    assert (row["ratio"], row["ratio_high"], row["verdict"]) == (1, 1, "not reproduced")


@pytest.mark.parametrize("draw", range(3))
@pytest.mark.slow
def test_exchanging_clr_and_the_baseline_inverts_the_ratio(tmp_path, draw):
    one, two = (
        {s: falling(x)[s] for s, x in zip(SEEDS, noise(draw + i), strict=True)} for i in (0, 50)
    )
    row = claim(write(tmp_path / "a", one, {0.1: two}), "quicker")
    exchanged = claim(write(tmp_path / "b", two, {0.1: one}), "quicker")
    assert row["target_loss"] == exchanged["target_loss"]
    for name, other in (("ratio", "ratio"), ("ratio_low", "ratio_high")):
        inverse = 1 / exchanged[other] if exchanged[other] else math.inf
        assert row[name] == pytest.approx(inverse, rel=1e-5), name


def test_a_diverged_seed_of_clr_never_reaches_the_target(tmp_path):
    row = claim(write(tmp_path, falling(2) | {1: [1.0, 1e-9, None]}, sweep()), "quicker")
    assert (row["ratio_high"], row["final_loss"]) == (math.inf, math.inf)
    assert row["verdict"] == "not reproduced"
    assert row["seeds_reached"] == 2


# Ends low but late; falls at once and so has the smaller area; both in a sweep.
LATE = constant([1.0] * 11 + [0.5, 2.0**-10])
EARLY = constant([1.0, *[2.0**-9.1] * 12])
TWO_GOOD_RATES = {0.01: falling(0.1), 0.1: EARLY, 0.3: LATE, 1.0: falling(0.1)}


def test_the_pick_of_the_rate_may_leave_the_conclusion(tmp_path):
    row = claim(write(tmp_path, falling(8.0), TWO_GOOD_RATES), "quicker")
    # CLR ends at 2^-96: no fixed rate reaches the target, or more than two of the others.
    assert (row["baseline_rate"], row["rate_by_area"]) == (0.3, 0.1)
    assert row["ratio"] == row["ratio_by_area"] == row["ratio_each_step"] == 0
    assert "the conclusion does not change" in row["sensitivity"]


def test_the_pick_of_the_rate_may_change_the_conclusion(tmp_path):
    clr = constant([1.0, 0.5, *[2.0**-4] * 6, *[2.0**-9.5] * 5])
    row = claim(write(tmp_path, clr, TWO_GOOD_RATES), "quicker")
    # The target is 2^-9: CLR takes 9 steps, 0.3 takes 13, 0.1 takes 2.
    assert row["ratio"] == pytest.approx(9 / 13, rel=1e-5)
    assert row["ratio_by_area"] == row["ratio_each_step"] == pytest.approx(9 / 2)
    assert "the conclusion changes with area and best at each step" in row["sensitivity"]


@pytest.mark.parametrize("edge", [0.01, 1.0])
def test_a_success_over_a_rate_at_the_edge_of_the_sweep_is_not_a_test(tmp_path, edge):
    rates = {rate: falling(1 if rate == edge else 0.5) for rate in (0.01, 0.1, 1.0)}
    row = claim(write(tmp_path / "success", falling(1.5), rates), "quicker")
    assert (row["verdict"], row["by_numbers"]) == (NOT_TESTED, "reproduced")
    assert "edge of the sweep" in row["reason"]
    # A failure counts: a better rate beyond the edge would only increase the difference.
    row = claim(write(tmp_path / "failure", falling(0.7), rates), "quicker")
    assert row["verdict"] == "not reproduced"


@pytest.mark.parametrize(
    ("rates", "reason"),
    [
        ({0.1: constant([1.0, None])}, "Every fixed rate of SGD diverged."),
        ({}, "No fixed rate of SGD was run."),
    ],
)
def test_without_a_baseline_there_is_nothing_to_compare(tmp_path, rates, reason):
    row = claim(write(tmp_path, falling(1), rates), "quicker")
    assert (row["verdict"], row["by_numbers"], row["reason"]) == (NOT_TESTED, "", reason)
    assert math.isnan(row["ratio"])


# converges, adapts, cap


def test_converges_if_the_final_loss_is_a_small_fraction_of_the_initial_loss(tmp_path):
    row = claim(write(tmp_path / "a", falling(0.2), sweep()), "converges")  # to 2^-2.4
    assert row["verdict"] == "reproduced"
    row = claim(write(tmp_path / "b", falling(0.1), sweep()), "converges")
    assert row["ratio"] == pytest.approx(0.999 * 2**-1.2, rel=1e-5)
    assert row["verdict"] == "not reproduced"
    assert row["reason"].startswith("Final training loss / initial loss: 0.435 (0.435–0.435)")


def test_scaled_down_a_loss_that_still_falls_is_not_a_test_of_convergence(tmp_path):
    scaled = Setting(scaled=True)
    row = claim(write(tmp_path / "a", falling(0.1), sweep(), scaled), "converges")
    assert row["verdict"] == NOT_TESTED
    assert "the loss still falls at the end of the budget" in row["reason"]
    flat_at_the_end = {s: [*falling(0.2)[s][:6], *[0.45] * 7] for s in SEEDS}
    row = claim(write(tmp_path / "b", flat_at_the_end, sweep(), scaled), "converges")
    assert row["verdict"] == "not reproduced"


def test_scaled_down_a_diverged_seed_is_a_failure_to_converge(tmp_path):
    losses = falling(1) | {2: [1.0, 0.1, None]}
    row = claim(write(tmp_path, losses, sweep(), Setting(scaled=True)), "converges")
    assert row["verdict"] == "not reproduced"
    assert "(0.000244 to diverged); 1 of 3 seeds diverged" in row["reason"]


RISING = tuple(np.geomspace(0.001, 1, 60))
SHUFFLED = tuple(np.random.default_rng(0).permutation(RISING))


def adapts(folder, rates):
    losses = falling(0.2, 60)
    return claim(write(folder, losses, {0.1: losses}, Setting(rates=rates)), "adapts")


def test_a_rate_that_rises_steadily_adapts(tmp_path):
    row = adapts(tmp_path, RISING)
    low, high = statistics.extremes(np.array(RISING), 10)
    assert row["ratio"] == pytest.approx(high / low, rel=1e-5)
    assert row["verdict"] == "reproduced"
    assert row["chance"] == 0.005
    assert row["reason"].startswith("Permutation test: p ≤ 0.005 in every seed; ")


def test_the_same_rates_in_random_order_do_not_adapt(tmp_path):
    row = adapts(tmp_path, SHUFFLED)
    assert row["ratio_low"] > 2
    assert row["chance"] > 0.05
    assert row["verdict"] == "not reproduced"


def test_a_small_trend_adapts_because_the_factor_decides_nothing(tmp_path):
    row = adapts(tmp_path, tuple(np.geomspace(1, 1.1, 60)))
    assert row["ratio"] < 1.1
    assert row["verdict"] == "reproduced"


def test_a_diverged_seed_does_not_adapt(tmp_path):
    losses = falling(0.2, 60)
    diverging = losses | {1: [*losses[1][:-1], None]}
    folder = write(tmp_path, diverging, {0.1: losses}, Setting(rates=RISING))
    assert claim(folder, "adapts")["verdict"] == "not reproduced"


def test_a_constant_rate_does_not_adapt(tmp_path):
    row = adapts(tmp_path, None)
    assert (row["ratio"], row["verdict"]) == (1, "not reproduced")


BELOW, REACHING = (0.1,) * 13, (0.1,) * 12 + (10.0,)


@pytest.mark.parametrize(
    ("rates", "max_lr", "scaled", "verdict"),
    [
        (REACHING, 10.0, False, "reproduced"),
        (BELOW, 10.0, False, "not reproduced"),
        (BELOW, 10.0, True, NOT_TESTED),
        (BELOW, None, False, "reproduced"),
        (REACHING, None, False, "not reproduced"),
    ],
)
def test_the_rate_must_reach_its_cap_or_stay_below_10_without_one(
    tmp_path, rates, max_lr, scaled, verdict
):
    label = "ImageNet" if max_lr else "CIFAR-10"
    setting = Setting(rates=rates, label=label, max_lr=max_lr, scaled=scaled)
    row = claim(write(tmp_path, falling(1), sweep(), setting), "cap")
    assert row["verdict"] == verdict
    assert row["ratio"] == pytest.approx(max(rates) / 10)
    assert ("longer training" in row["reason"]) == (verdict == NOT_TESTED)


# curves


def test_curves_say_in_which_part_of_training_the_loss_alternates_and_until_when(tmp_path):
    # By factors of 3 in the first 16 of 40 steps; windows are centered at 8.5, 16.5, 24.5 and 32.5.
    smooth = 0.9 ** np.arange(40.0) * np.exp(0.1 * np.sin(np.arange(40) / 2))
    alternating = smooth * np.where(np.arange(40) < 16, 3.0 ** (np.arange(40) % 2), 1.0)
    losses = {0: alternating, 1: alternating, 2: smooth}
    folder = write(tmp_path, losses, {0.1: constant(smooth)})
    clr, sgd = judge(folder)["curves"].to_dict("records")
    assert [clr[f"alternating{end}"] for end in ("", "_low", "_high")] == pytest.approx(
        [1 / 3, 0, 0.5], rel=1e-5
    )
    assert [clr[f"alternates_until{end}"] for end in ("", "_low", "_high")] == [16.5] * 3
    assert sgd["alternating"] == 0
    assert math.isnan(sgd["alternates_until"])
    assert math.isnan(clr["turn_alternating"])  # nothing was measured
