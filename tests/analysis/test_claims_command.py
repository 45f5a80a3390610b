"""scripts/claims.py: tables, texts, the committed verdicts, and messages about bad input."""

import io
import os
import subprocess
import sys

import pandas as pd
import pytest
from claim_tables import ROOT, Setting, call, falling, judge, sweep, write
from markdown_it import MarkdownIt
from rich.console import Console

from clr.analysis.verdicts import Verdict, display, rules

COMMITTED = sorted(path.parent for path in (ROOT / "results").glob("*/claims.csv"))
BYTES = b"\x93\x00\xff no table \x80"


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "mine", falling(1.5), sweep())


def run(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "claims.py", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


# Committed verdicts


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda path: path.name)
@pytest.mark.slow
def test_committed_verdicts_follow_from_the_committed_runs(folder):
    for name, table in judge(folder).items():
        assert (folder / f"{name}.csv").read_text() == table.to_csv(index=False), name
        committed = pd.read_parquet(folder / f"{name}.parquet")
        pd.testing.assert_frame_equal(committed, table, check_exact=True)


def test_every_committed_protocol_has_verdicts_or_an_arena():
    for runs in (ROOT / "results").glob("*/runs.csv"):
        assert runs.parent in COMMITTED or (runs.parent / "arena.csv").is_file()


def test_readme_shows_the_matrix_of_the_committed_verdicts():
    claims = [
        pd.read_parquet(ROOT / "results" / name / "claims.parquet") for name in ("overnight", "cpu")
    ]
    assert display.matrix(pd.concat(claims, ignore_index=True)) in (ROOT / "README.md").read_text()


def test_docs_show_the_table_of_the_committed_verdicts():
    claims = pd.read_parquet(ROOT / "results" / "cpu" / "claims.parquet")
    assert display.markdown(claims) in (ROOT / "docs" / "results.md").read_text()


# Output


@pytest.mark.slow
def test_the_command_writes_the_tables_and_prints_rules_and_verdicts(folder):
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, "")
    printed = " ".join(done.stdout.split())
    assert "it leads where the whole interval of the ratio is below 1" in printed
    line = rules.provenance_line("quicker", "mine", rules.load())
    assert f"- faster than the best fixed rate, rate adapts: {line}" in printed
    counts = "1 not reproduced, 10 not tested at this scale, 3 reproduced"
    assert done.stdout.endswith(f"{counts}; tables in {folder}\n")
    for name, table in judge(folder).items():
        assert (folder / f"{name}.csv").read_text() == table.to_csv(index=False), name
        assert (folder / f"{name}.parquet").is_file(), name


def test_markdown_prints_one_row_per_claim_and_scope_and_writes_nothing(folder, capsys):
    assert call("claims", folder, "--markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    reason = "Largest learning rate over training: 0.1."
    assert f"| cap | 4 | CIFAR-10, ResNet-18, 64 | reproduced | {reason} |" in lines
    assert len(lines) == 2 + 4
    assert not (folder / "claims.csv").exists()


def test_the_matrix_has_one_row_per_scope_and_a_sign_per_claim(folder, capsys):
    assert call("claims", folder, "--matrix") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| data, model, batch size | converges | faster than the best")
    assert lines[2:4] == ["| CIFAR-10, ResNet-18, 64 | ✓ | ✓ | ✗ | ✓ |", ""]
    assert lines[4].startswith("✓ reproduced, ✗ not reproduced, – not tested at this scale")
    line = rules.provenance_line("cap", "mine", rules.load())
    assert lines[-1] == f"- reaches its cap on ImageNet only: {line}"
    assert not (folder / "claims.csv").exists()


LABEL = "CIFAR-10 [bold]$x_1$ | <b>*a*</b> :smile: 字"


def test_the_terminal_shows_labels_literally(tmp_path):
    folder = write(tmp_path / "mine", falling(1.5), sweep(), Setting(label=LABEL))
    console = Console(width=400, file=io.StringIO())
    console.print(*display.terminal(judge(folder)["claims"]))
    assert f"{LABEL}, ResNet-18, 64" in console.file.getvalue()


def test_markdown_shows_labels_literally(tmp_path):
    folder = write(tmp_path / "mine", falling(1.5), sweep(), Setting(label=LABEL))
    for text in (
        display.markdown(judge(folder)["claims"]),
        display.matrix(judge(folder)["claims"]),
    ):
        html = MarkdownIt("commonmark").enable("table").render(text)
        cell = "CIFAR-10 [bold]$x_1$ | &lt;b&gt;*a*&lt;/b&gt; :smile: 字, ResNet-18, 64</td>"
        assert cell in html


def test_ratios_are_shown_in_words_where_they_are_infinite():
    row = {"claim": "quicker", "ratio": "inf", "ratio_low": "inf", "ratio_high": "inf"}
    assert display.ratio_text(row) == "not reached"
    assert display.ratio_text(row | {"claim": "converges", "ratio_low": 0.5}) == (
        "diverged (0.5 to diverged)"
    )
    assert display.ratio_text(row | dict.fromkeys(["ratio", "ratio_low", "ratio_high"], "")) == "–"


def test_each_verdict_has_a_sign():
    assert [verdict.sign for verdict in Verdict] == ["✓", "✗", "–"]


# Bad input


def test_help_names_the_options_and_an_example(capsys):
    assert call("claims", "--help") == 0
    printed = capsys.readouterr().out
    for text in ("--markdown", "--matrix", "example: python scripts/claims.py results/quick"):
        assert text in printed


def one_line(capsys):
    """The message on stderr, which must be one line, with nothing on stdout."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_an_empty_folder_is_reported_with_the_command(tmp_path, capsys):
    (tmp_path / "quick").mkdir()
    assert call("claims", tmp_path / "quick") == 2
    assert "protocol.json is missing; create it with: make reproduce PROTOCOL=quick" in one_line(
        capsys
    )


@pytest.mark.parametrize("script", ["claims", "compare", "figures", "publish"])
@pytest.mark.parametrize(
    ("name", "problem"),
    [("nope", "does not exist"), ("loop", "is not a folder"), ("x" * 300, "does not exist")],
)
def test_what_is_not_a_folder_is_reported_as_that(tmp_path, capsys, script, name, problem):
    (tmp_path / "loop").symlink_to("loop")
    assert call(script, tmp_path / name) == 2
    assert f"{name} {problem}; pass a folder with results" in one_line(capsys)


def test_a_file_instead_of_a_folder_is_reported(tmp_path, capsys):
    (tmp_path / "quick").write_text("")
    assert call("claims", tmp_path / "quick") == 2
    assert "quick" in one_line(capsys)


@pytest.mark.parametrize("name", ["protocol.json", "runs.csv", "steps.parquet", "figure_runs.csv"])
@pytest.mark.parametrize("content", [b"", b"\n", b"{}", BYTES])
def test_a_damaged_table_is_named_with_the_command(folder, capsys, name, content):
    (folder / name).write_bytes(content)
    assert call("claims", folder) == 2
    message = one_line(capsys)
    assert name in message
    assert "make reproduce PROTOCOL=mine" in message
    assert not (folder / "claims.csv").exists()


def test_results_without_any_completed_run_are_reported(folder, capsys):
    pd.read_csv(folder / "runs.csv")[:0].to_csv(folder / "runs.csv", index=False)
    assert call("claims", folder) == 2
    assert "no completed run; train them with: make reproduce PROTOCOL=mine" in one_line(capsys)


@pytest.mark.parametrize("column", ["status", "num_train", "seed", "data_label"])
def test_a_missing_column_is_named(folder, capsys, column):
    pd.read_csv(folder / "runs.csv").drop(columns=column).to_csv(folder / "runs.csv", index=False)
    assert call("claims", folder) == 2
    assert f"has no column {column}" in one_line(capsys)


def test_text_in_a_column_of_numbers_is_named(folder, capsys):
    table = pd.read_csv(folder / "runs.csv").assign(final_train_loss="low")
    table.to_csv(folder / "runs.csv", index=False)
    assert call("claims", folder) == 2
    assert "final_train_loss" in one_line(capsys)


def test_two_runs_of_one_seed_are_reported(folder, capsys):
    table = pd.read_csv(folder / "runs.csv")
    pd.concat([table, table[:1].assign(run_id="other")]).to_csv(folder / "runs.csv", index=False)
    assert call("claims", folder) == 2
    assert "two runs of the same settings and seed" in one_line(capsys)


def test_a_run_without_steps_is_named(folder, capsys):
    steps = pd.read_parquet(folder / "steps.parquet")
    lost = steps["run_id"].iloc[0]
    steps[steps["run_id"] != lost].to_parquet(folder / "steps.parquet")
    assert call("claims", folder) == 2
    assert f"lacks the run {lost}" in one_line(capsys)
