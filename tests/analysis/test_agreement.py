"""Agreement of two results folders: curves, their picture, and git's version of a folder."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from claim_tables import SEEDS, call, falling, sweep, write

from clr.analysis import comparison, tables
from clr.analysis.figures import comparison as figure
from clr.analysis.verdicts import agreement, evidence, rules

RULE = rules.load().agreement


def spread_out(factor=1.0, halvings=0.5, steps=20):
    """Seeds at 0.8, 1 and 1.25 times `factor`: at each step a log range of 2 log(1.25)."""
    losses = falling(halvings, steps)
    return {seed: [loss * factor * 1.25 ** (seed - 1) for loss in losses[seed]] for seed in SEEDS}


def compare(mine, theirs):
    records = [evidence.read(folder, 1.0) for folder in (mine, theirs)]
    return agreement.compare(*records, RULE)


def only(table, optimizer="clr"):
    (row,) = table[table["optimizer"] == optimizer].to_dict("records")
    return row


# The table


def test_a_folder_is_identical_to_itself(tmp_path):
    folder = write(tmp_path, falling(1), sweep())
    table = compare(folder, folder)
    assert len(table) == 4
    assert table["identical"].all()
    assert set(table["agreement"]) == {"agree"}
    assert table["apart_over_allowed"].isna().all()
    text = agreement.summary(table, "the committed results")
    assert text == "agrees with the committed results in 4 of 4 curves (4 identical)"


@pytest.mark.parametrize(
    ("ranges", "outcome", "windows"),
    [
        (0.5, "agree", 10),
        (1.1, "agree", 10),
        (1.17, "differ", 0),
        (-1.1, "agree", 10),
        (-1.17, "differ", 0),
    ],
)
def test_means_may_differ_as_student_s_t_test_allows(tmp_path, ranges, outcome, windows):
    # The standard deviation is log(1.25) on both sides: half the range. The 97.5% point of t with 4
    # degrees of freedom is 2.776, so the limit is 2.776 √(2/3) / 2 = 1.133 ranges.
    theirs = write(tmp_path / "b", spread_out(1.25 ** (2 * ranges)), {0.1: spread_out()})
    row = only(compare(write(tmp_path / "a", spread_out(), {0.1: spread_out()}), theirs))
    assert row["apart_over_allowed"] == pytest.approx(abs(ranges) / 1.1334, rel=1e-3)
    assert (row["agreement"], row["windows_within"]) == (outcome, windows)
    assert row["same_runs"] == 3
    assert not row["identical"]


@pytest.mark.parametrize(("windows", "outcome"), [(2, "agree"), (3, "differ")])
def test_two_of_ten_windows_may_differ(tmp_path, windows, outcome):
    losses = spread_out()
    for own in losses.values():
        own[: 2 * windows] = [100 * loss for loss in own[: 2 * windows]]
    table = compare(write(tmp_path / "a", losses, {}), write(tmp_path / "b", spread_out(), {}))
    assert (only(table)["windows_within"], only(table)["agreement"]) == (10 - windows, outcome)


def test_runs_of_different_length_are_compared_over_their_common_steps(tmp_path):
    longer = write(tmp_path / "b", spread_out(steps=60), {})
    row = only(compare(write(tmp_path / "a", spread_out(), {}), longer))
    assert row["agreement"] == "agree"


def test_a_single_seed_is_undecided(tmp_path):
    one_seed = {0: spread_out()[0]}
    table = compare(write(tmp_path / "a", one_seed, {}), write(tmp_path / "b", spread_out(), {}))
    assert only(table)["agreement"] == "undecided"
    text = agreement.summary(table, "b")
    assert text.endswith("in 0 of 1 curves (1 undecided: too few seeds to know the spread)")


def test_curves_differ_if_runs_diverged_in_one_folder_only(tmp_path):
    losses = spread_out() | {1: [*spread_out()[1][:15], None]}
    mine = write(tmp_path / "a", losses, {})
    row = only(compare(mine, write(tmp_path / "b", spread_out(), {})))
    assert (row["diverged"], row["other_diverged"]) == (1, 0)
    assert (row["agreement"], row["windows_within"]) == ("differ", 10)
    row = only(compare(mine, write(tmp_path / "c", losses | {0: losses[2]}, {})))
    assert row["agreement"] == "agree"


def test_runs_that_diverge_at_the_first_step_are_undecided_unless_only_one_folder_has_them(
    tmp_path,
):
    at_once = write(tmp_path / "a", {seed: [None] for seed in SEEDS}, {})
    later = write(tmp_path / "b", {seed: [1.0, None] for seed in SEEDS}, {})
    row = only(compare(at_once, later))
    assert (row["agreement"], row["windows"]) == ("undecided", 0)
    row = only(compare(at_once, write(tmp_path / "c", spread_out(), {})))
    assert row["agreement"] == "differ"


def test_curves_of_one_folder_only_are_ignored(tmp_path):
    mine = write(tmp_path / "a", falling(1), {0.1: falling(1), 0.3: falling(1)})
    theirs = write(tmp_path / "b", falling(1), {0.1: falling(1), 1.0: falling(1)})
    table = compare(mine, theirs)
    assert len(table) == 2
    assert table["learning_rate"].dropna().tolist() == [0.1]


def test_folders_without_a_common_curve_are_reported(tmp_path):
    mine = write(tmp_path / "a", falling(1), sweep())
    runs = pd.read_csv(mine / "runs.csv").assign(batch_size=128)
    runs.to_csv(mine / "runs.csv", index=False)
    table = compare(mine, write(tmp_path / "b", falling(1), sweep()))
    assert agreement.summary(table, "b") == "has no curve in common with b"


# The picture


def test_the_curves_of_both_folders_are_drawn_in_one_panel(tmp_path):
    a = write(tmp_path / "a", spread_out(), {0.1: spread_out(3), 0.3: spread_out(4)})
    b = write(tmp_path / "b", spread_out(2), {0.1: spread_out(4), 0.3: spread_out(6)})
    drawing = figure.draw(tables.read(a), tables.read(b), ("mine", "theirs"), compare(a, b))
    (ax,) = drawing.axes
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert list(lines) == ["SGD, mine", "CLR, mine", "SGD, theirs", "CLR, theirs"]
    mean = np.mean([0.8, 1, 1.25])
    for label, factor in zip(lines, (3, 1, 4, 2), strict=True):
        expected = mean * factor * np.array(falling(0.5, 20)[0])
        assert lines[label] == pytest.approx(expected), label
    assert "SGD at 0.1: 2 of 3 curves agree" in ax.get_title()


def test_folders_are_named_by_the_shortest_different_ends_of_their_paths():
    def names(mine, theirs):
        return comparison.distinct_names(Path(mine), Path(theirs))

    assert names("/a/quick", "/b/cpu") == ("quick", "cpu")
    assert names("/a/x/cpu", "/b/x/cpu") == ("a/x/cpu", "b/x/cpu")
    assert names("/a/cpu", "/a/cpu") == ("cpu", "cpu")


# Git and the command


def git(folder, *arguments):
    author = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder):
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "results")


def test_new_results_are_compared_with_the_committed_ones(tmp_path, monkeypatch, capsys):
    write(tmp_path / "results" / "quick", spread_out(), {0.1: spread_out()})
    commit(tmp_path)
    write(tmp_path / "results" / "quick", spread_out(100), {0.1: spread_out()})
    monkeypatch.chdir(tmp_path)
    assert call("compare", "results/quick") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    text = "results/quick agrees with the committed results in 1 of 2 curves (1 identical)"
    assert text in captured.out
    output = tmp_path / "results" / "quick" / "comparison"
    assert pd.read_csv(output / "agreement.csv")["agreement"].tolist() == ["differ", "agree"]
    names = {path.name for path in output.iterdir()}
    assert {"agreement.parquet", "curves.png", "curves.pdf"} <= names


def test_committed_is_the_version_of_head_not_of_the_working_tree(tmp_path):
    folder = write(tmp_path / "results" / "quick", spread_out(), {})
    commit(tmp_path)
    before = (folder / "runs.csv").read_bytes()
    shutil.rmtree(folder)
    write(folder, spread_out(), {0.1: spread_out()})
    with agreement.committed(folder) as copy:
        assert copy.name == "quick"
        assert (copy / "runs.csv").read_bytes() == before
    assert not copy.exists()


@pytest.mark.parametrize("repository", [False, True])
def test_without_committed_results_the_reason_is_printed(tmp_path, capsys, repository):
    folder = write(tmp_path / "gpu", spread_out(), {})
    if repository:
        git(tmp_path, "init")
    assert call("compare", folder) == 0
    text = f"nothing is committed in {folder}; name another folder to compare with\n"
    assert capsys.readouterr() == (f"no comparison: {text}", "")


def test_a_repository_that_git_refuses_is_reported_with_gits_reason(tmp_path, monkeypatch, capsys):
    folder = write(tmp_path / "quick", spread_out(), {})
    commit(tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert call("compare", folder) == 0
    reason = "no comparison: git refuses the repository: fatal: detected dubious ownership"
    assert capsys.readouterr().out.startswith(reason)


def test_without_git_the_reason_is_printed(tmp_path, monkeypatch, capsys):
    folder = write(tmp_path / "quick", spread_out(), {})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert call("compare", folder) == 0
    assert capsys.readouterr().out.startswith("no comparison: git cannot be run")


@pytest.mark.parametrize("arguments", [("none",), ("mine", "none")])
def test_a_missing_folder_is_reported(tmp_path, capsys, arguments):
    write(tmp_path / "mine", spread_out(), {})
    assert call("compare", *(tmp_path / name for name in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "none does not exist; pass a folder with results" in captured.err


@pytest.mark.parametrize("position", [0, 1])
def test_a_file_instead_of_a_folder_is_reported(tmp_path, capsys, position):
    folders = [write(tmp_path / "mine", spread_out(), {})] * 2
    folders[position] = tmp_path / "text"
    folders[position].write_text("")
    assert call("compare", *folders) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "text" in captured.err


def test_a_file_in_place_of_the_output_folder_is_reported(tmp_path, capsys):
    folder = write(tmp_path / "mine", spread_out(), {})
    (folder / "comparison").write_text("")
    assert call("compare", folder, folder) == 2
    assert "comparison is not a folder; remove it" in capsys.readouterr().err


def test_results_of_an_interrupted_sweep_are_reported(tmp_path, capsys):
    folder = write(tmp_path / "mine", spread_out(), {})
    (folder / "runs.csv").write_text("\n")
    assert call("compare", folder, folder) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "runs.csv cannot be read" in captured.err


def test_help_names_the_arguments_and_an_example(capsys):
    assert call("compare", "--help") == 0
    assert "example: python scripts/compare.py results/quick" in capsys.readouterr().out
