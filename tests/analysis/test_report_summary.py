"""What the report says beside its figures: the sweep, the assumptions, provenance and the verdicts."""

import json

import pandas as pd
import pytest
import report_folder
from figure_tables import HALVES, ROOT, edit_runs, write

from clr.analysis.report import summary
from clr.errors import UserError


def with_summary(folder):
    accuracy = {0: 0.2, 1: 0.3, 2: 0.7}
    runs = pd.read_csv(folder / "runs.csv", dtype={"run_id": str})
    return runs.assign(final_test_accuracy=runs["seed"].map(accuracy), seconds=1.0 + runs["seed"])


def test_the_sweep_has_a_row_for_all_seeds_of_a_configuration(tables):
    rows = summary.configurations(with_summary(tables))
    assert [(r.batch_size, r.optimizer, r.rate) for r in rows] == [
        (size, *of)
        for size in (64, 256)
        for of in (("CLR", None), *(("SGD", rate) for rate in (0.01, 0.1, 0.3, 1.0)))
    ]
    clr, slow, best, _, gone = rows[:5]
    end = (1 + HALVES[None]) / 2 * HALVES[None] ** 4
    assert (clr.loss.mean, clr.loss.low, clr.loss.high) == pytest.approx((3 * end, end, 6 * end))
    assert (clr.accuracy.mean, clr.accuracy.low, clr.accuracy.high) == pytest.approx((40, 20, 70))
    assert (clr.data, clr.model, clr.seeds, clr.diverged, clr.seconds) == (
        "CIFAR-10, 5,000 images",
        "ResNet-18",
        3,
        0,
        2,
    )
    assert best.best and not any(r.best for r in (clr, slow, gone))
    assert (gone.diverged, gone.loss, gone.accuracy) == (3, None, None)


def test_a_seed_that_diverged_is_counted_and_left_out_of_the_means(tmp_path):
    edit_runs(write(tmp_path), lambda r: r["run_id"] == "6402", status="diverged")
    clr = summary.configurations(with_summary(tmp_path))[0]
    end = (1 + HALVES[None]) / 2 * HALVES[None] ** 4
    assert (clr.seeds, clr.diverged, clr.loss.mean) == (3, 1, pytest.approx(1.5 * end))


def test_the_assumptions_are_those_of_the_docs():
    html = summary.assumptions()
    assert html.startswith("<ul>") and "<code>model.stem=cifar</code>" in html and "vanilla" in html
    assert "##" not in html


def test_provenance_counts_what_differs():
    lines = (ROOT / "results" / "quick" / "runs.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in lines[:3]]
    runs[1]["provenance"]["revision"] = "abc"
    facts = summary.provenance(runs)
    assert facts["Revision of the code"] == [
        f"{runs[0]['provenance']['revision']} (2 runs)",
        "abc (1 runs)",
    ]
    assert facts["Data, by SHA-256"] == [f"digits (scikit-learn): {runs[0]['data']['fingerprint']}"]


def test_claims_are_grouped_and_what_all_rows_share_is_said_once(reported):
    quicker, cap = summary.by_claim(summary.verdicts(reported))
    assert (quicker.name, quicker.rule) == (
        "quicker than the best fixed rate",
        "reproduced if the whole interval lies below 1",
    )
    assert quicker.statistic.startswith("steps to a training loss")
    assert [row["batch_size"] for row in quicker.rows] == ["256", "64"] and len(cap.rows) == 1
    (several,) = summary.by_claim([{**row, "rule": str(i)} for i, row in enumerate(quicker.rows)])
    assert several.rule == "" and several.statistic == quicker.statistic
    (one,) = summary.by_claim(
        [*quicker.rows, {**quicker.rows[0], "rule": ""}]
    )  # no runs: no rule was needed
    assert one.rule == quicker.rule


def test_verdicts_at_a_glance_are_by_what_they_are_about(reported):
    rows = summary.verdicts(reported)
    scopes = summary.by_scope([rows[2], *rows])
    assert list(scopes) == [
        *(f"scikit-learn's digits · ResNet-18 · batch size {size}" for size in (256, 64)),
        "Figure 4",
    ]
    assert list(scopes.values()) == [
        {"quicker than the best fixed rate": "reproduced"},
        {"quicker than the best fixed rate": "not reproduced"},
        {"meets the cap": "not tested at this scale"},
    ]


def test_a_verdict_that_is_none_is_refused(tmp_path):
    claims = [{**report_folder.CLAIMS[0], "verdict": "perhaps"}]
    (tmp_path / "claims.csv").write_text(pd.DataFrame(claims).to_csv(index=False))
    with pytest.raises(UserError, match="verdict 'perhaps'"):
        summary.verdicts(tmp_path)
