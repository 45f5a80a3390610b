"""Tables and texts of the report: the sweep, assumptions, provenance and verdicts."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import report_folder
from figure_tables import ACCURACY, DECAY, ROOT, edit_runs, write

from clr.analysis import tables as results_tables
from clr.analysis.report import claims, summary
from clr.analysis.verdicts import Verdict
from clr.errors import UserError

END = (1 + DECAY[None]) / 2 * DECAY[None] ** 4  # final loss of CLR with seed 0


def sweep(folder):
    results = results_tables.read_checked(folder)
    accuracy = results.runs["seed"].map(ACCURACY)
    runs = results.runs.assign(final_test_accuracy=accuracy, seconds=1.0 + results.runs["seed"])
    return summary.configurations(replace(results, runs=runs))


def test_the_sweep_has_one_row_per_optimizer_rate_and_batch_size(tables):
    rows = [(row.batch_size, row.optimizer, row.rate) for row in sweep(tables)]
    own = [("CLR", None), *(("SGD", rate) for rate in (0.01, 0.1, 0.3, 1.0))]
    assert rows == [(size, *configuration) for size in (64, 256) for configuration in own]


def test_a_row_of_the_sweep_has_mean_and_range_over_the_seeds(tables):
    clr = sweep(tables)[0]
    assert (clr.data, clr.model) == ("CIFAR-10, 5,000 images", "ResNet-18")
    assert (clr.seeds, clr.diverged, clr.seconds) == (3, 0, 2)
    assert (clr.loss.mean, clr.loss.low, clr.loss.high) == pytest.approx((3 * END, END, 6 * END))
    assert (clr.accuracy.mean, clr.accuracy.low, clr.accuracy.high) == pytest.approx((40, 20, 70))


def test_only_the_best_fixed_rate_is_marked(tables):
    assert [row.rate for row in sweep(tables)[:5] if row.best] == [0.1]


def test_a_rate_that_diverged_with_all_seeds_has_no_means(tables):
    diverged = sweep(tables)[4]
    assert (diverged.diverged, diverged.loss, diverged.accuracy) == (3, None, None)


@pytest.mark.parametrize(
    "change", [{"status": "diverged"}, {"final_train_loss": math.nan}], ids=["status", "loss"]
)
def test_a_diverged_seed_is_counted_and_left_out_of_the_means(tmp_path, change):
    edit_runs(write(tmp_path), lambda runs: runs["run_id"] == "6402", **change)
    clr = sweep(tmp_path)[0]
    assert (clr.seeds, clr.diverged) == (3, 1)
    assert clr.loss.mean == pytest.approx(1.5 * END)


def test_the_assumptions_are_those_of_the_docs_without_the_heading():
    html = summary.assumptions()
    assert html.startswith("<ul>")
    assert "<code>model.stem=cifar</code>" in html
    assert "#" not in html


def records(n):
    lines = (ROOT / "results" / "quick" / "runs.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[:n]]


def test_provenance_counts_the_runs_of_each_value():
    runs = records(3)
    runs[1]["provenance"]["revision"] = "abc"
    facts = summary.provenance(runs)
    revision = runs[0]["provenance"]["revision"]
    assert facts["Revision of the code"] == [f"{revision} (2 runs)", "abc (1 run)"]
    fingerprint = runs[0]["data"]["fingerprint"]
    assert facts["Data, by SHA-256"] == [f"digits (scikit-learn): {fingerprint}"]


def test_a_run_without_a_recorded_time_counts_as_zero_seconds():
    runs = records(3)
    runs[1]["summary"]["seconds"] = None
    runs[2]["summary"]["seconds"] = math.nan
    assert summary.total_seconds(runs) == runs[0]["summary"]["seconds"]


def test_the_command_that_reproduces_everything_is_quoted(tmp_path):
    assert summary.whole_command(tmp_path / "my results", records(1)) == (
        "make reproduce PROTOCOL='my results'"
    )


@pytest.fixture(scope="module")
def rows(reported):
    return claims.claim_rows(reported)


def test_rows_are_grouped_by_claim_with_the_rule_and_statistic_that_they_share(rows):
    faster, cap = claims.by_claim(rows)
    assert faster.name == "faster than the best fixed rate"
    assert faster.rule == "reproduced if the whole interval is below 1"
    assert faster.statistic.startswith("steps to a training loss")
    assert faster.written.startswith("written on 2026-02-01")
    assert [row["batch_size"] for row in faster.rows] == ["256", "64"]
    assert len(cap.rows) == 1


def test_rows_with_different_rules_share_none_and_empty_ones_are_ignored(rows):
    first, second, _ = rows
    (several,) = claims.by_claim([first, {**second, "rule": "another"}])
    assert several.rule == ""
    assert several.statistic == first["statistic"]
    (one,) = claims.by_claim([first, {**second, "rule": ""}])
    assert one.rule == first["rule"]


def test_ratios_are_text_for_readers(rows):
    assert [row["ratio_text"] for row in rows] == ["0.812 (0.75–0.875)", "not reached", ""]


def test_the_matrix_has_scopes_with_runs_first_and_then_figures(rows):
    scopes = claims.by_scope([rows[2], *rows])
    digits = "scikit-learn's digits · ResNet-18 · batch size"
    assert list(scopes.items()) == [
        (f"{digits} 256", {"faster than the best fixed rate": Verdict.REPRODUCED}),
        (f"{digits} 64", {"faster than the best fixed rate": Verdict.NOT_REPRODUCED}),
        ("Figure 4", {"reaches its cap on ImageNet only": Verdict.NOT_TESTED}),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"verdict": "perhaps"}, "has the verdict 'perhaps'"), ({"ratio": "a"}, "is not a number")],
)
def test_an_unknown_verdict_or_ratio_is_refused(tmp_path, change, message):
    table = pd.DataFrame([{**report_folder.CLAIMS[0], **change}])
    table.to_csv(tmp_path / "claims.csv", index=False)
    with pytest.raises(UserError, match=message):
        claims.claim_rows(tmp_path)


def test_an_infinite_loss_of_a_comparison_is_kept(tmp_path):
    (tmp_path / "comparison").mkdir()
    columns = ["final_loss", "other_final_loss"]
    row = {f"{name}{end}": np.inf for name in columns for end in ("", "_low", "_high")}
    row |= {"dataset": "a", "model": "b", "batch_size": 1, "optimizer": "clr", "windows": 10}
    row |= {"setting": ""} | {
        "learning_rate": None,
        "identical": False,
        "windows_within": 9,
        "agreement": "agree",
    }
    pd.DataFrame([row]).to_csv(tmp_path / "comparison" / "agreement.csv", index=False)
    (compared,) = summary.compared(tmp_path)
    assert compared.loss == summary.Spread(math.inf, math.inf, math.inf)
