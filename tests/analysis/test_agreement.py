"""Two folders of results against each other: which curves agree, what is drawn, and what git has of a folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from claim_tables import ROOT, SEEDS, call, falling, sweep, write

from clr.analysis import comparison
from clr.analysis import tables as plots_tables
from clr.analysis.figures import comparison as plots_compare
from clr.analysis.verdicts import agreement, rules
from clr.analysis.verdicts import evidence as records

RULE = rules.load().agreement


def spread_out(factor=1.0, halvings=0.5, steps=20):
    """Seeds at 0.8, 1 and 1.25 times `factor`: a range of 2 log(1.25) in the logarithm, at every step."""
    losses = falling(halvings, steps)
    return {seed: [loss * factor * 1.25 ** (seed - 1) for loss in losses[seed]] for seed in SEEDS}


def compared(mine, theirs):
    loaded = [records.read(folder, 1.0) for folder in (mine, theirs)]
    return agreement.compare(*loaded, RULE)


def only(table, optimizer="clr"):
    (row,) = table[table["optimizer"] == optimizer].to_dict("records")
    return row


def test_the_same_folder_agrees_to_the_bit(tmp_path):
    folder = write(tmp_path, falling(1), sweep())
    table = compared(folder, folder)
    assert table["identical"].all() and len(table) == 4 and set(table["agreement"]) == {"agree"}
    assert table["apart_over_spread"].isna().all()
    told = agreement.summary(table, "the committed results")
    assert told == "agrees with the committed results in 4 of 4 curves (4 to the bit)"


@pytest.mark.parametrize(
    ("times", "agrees"), [(0.5, True), (1.2, True), (1.35, False), (-1.2, True), (-1.35, False)]
)
def test_means_may_lie_so_many_ranges_apart(tmp_path, times, agrees):
    # Both ranges are 2 log(1.25), and so is their mean
    theirs = write(tmp_path / "b", spread_out(1.25 ** (2 * times)), {0.1: spread_out()})
    row = only(compared(write(tmp_path / "a", spread_out(), {0.1: spread_out()}), theirs))
    assert row["apart_over_spread"] == pytest.approx(abs(times))
    assert (row["agreement"], row["windows_within"]) == (("agree", 10) if agrees else ("differ", 0))
    assert row["same_runs"] == 3 and not row["identical"]


@pytest.mark.parametrize(("windows", "expected"), [(2, "agree"), (3, "differ")])
def test_some_windows_may_be_off(tmp_path, windows, expected):
    off = spread_out()
    for losses in off.values():
        losses[: 2 * windows] = [100 * loss for loss in losses[: 2 * windows]]
    table = compared(write(tmp_path / "a", off, {}), write(tmp_path / "b", spread_out(), {}))
    assert (only(table)["windows_within"], only(table)["agreement"]) == (10 - windows, expected)


def test_budgets_of_other_lengths_are_compared_where_both_are(tmp_path):
    longer = write(tmp_path / "b", spread_out(steps=60), {})
    assert only(compared(write(tmp_path / "a", spread_out(), {}), longer))["agreement"] == "agree"


def test_one_seed_has_no_spread_to_agree_within(tmp_path):
    one = {0: spread_out()[0]}
    table = compared(write(tmp_path / "a", one, {}), write(tmp_path / "b", spread_out(), {}))
    assert only(table)["agreement"] == "cannot be told"
    assert agreement.summary(table, "b").endswith(
        "in 0 of 1 curves (1 cannot be told, as one seed has no spread)"
    )


def test_curves_of_which_only_one_diverged_differ(tmp_path):
    broken = spread_out() | {1: [*spread_out()[1][:15], None]}
    one, other = write(tmp_path / "a", broken, {}), write(tmp_path / "b", spread_out(), {})
    row = only(compared(one, other))
    assert (row["agreement"], row["windows_within"], row["diverged"], row["other_diverged"]) == (
        "differ",
        10,
        1,
        0,
    )
    assert (
        only(compared(one, write(tmp_path / "c", broken | {0: broken[2]}, {})))["agreement"]
        == "agree"
    )


def test_what_only_one_folder_has_is_left_out(tmp_path):
    a = write(tmp_path / "a", falling(1), {0.1: falling(1), 0.3: falling(1)})
    table = compared(a, write(tmp_path / "b", falling(1), {0.1: falling(1), 1.0: falling(1)}))
    assert table["learning_rate"].dropna().tolist() == [0.1] and len(table) == 2
    edited = pd.read_csv(a / "runs.csv").assign(batch_size=128)
    edited.to_csv(a / "runs.csv", index=False)
    assert agreement.summary(compared(a, tmp_path / "b"), "b") == "shares no curve with b"


def test_both_folders_curves_are_drawn_over_each_other(tmp_path):
    a = write(tmp_path / "a", spread_out(), {0.1: spread_out(3), 0.3: spread_out(4)})
    b = write(tmp_path / "b", spread_out(2), {0.1: spread_out(5), 0.3: spread_out(6)})
    figure = plots_compare.draw(
        plots_tables.read(a), plots_tables.read(b), ("mine", "theirs"), compared(a, b)
    )
    (ax,) = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert list(drawn) == ["SGD, mine", "CLR, mine", "SGD, theirs", "CLR, theirs"]
    mean = np.mean([0.8, 1, 1.25])
    for label, factor in zip(drawn, (3, 1, 5, 2), strict=True):
        assert drawn[label] == pytest.approx(mean * factor * np.array(falling(0.5, 20)[0]))
    assert "SGD at 0.1: 2 of 3 curves agree" in ax.get_title()


def test_two_folders_are_called_by_what_tells_them_apart():
    assert comparison._told_apart(Path("/a/quick"), Path("/b/cpu")) == ("quick", "cpu")
    assert comparison._told_apart(Path("/a/x/cpu"), Path("/b/x/cpu")) == ("a/x/cpu", "b/x/cpu")
    assert comparison._told_apart(Path("/a/cpu"), Path("/a/cpu")) == ("cpu", "cpu")


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_readers_own_runs_are_held_against_the_committed_ones(tmp_path):
    write(tmp_path / "results" / "quick", spread_out(), {0.1: spread_out()})
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "published")
    write(tmp_path / "results" / "quick", spread_out(100), {0.1: spread_out()})
    called = [sys.executable, str(ROOT / "scripts" / "compare.py"), "results/quick"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(called, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    told = "results/quick agrees with the committed results in 1 of 2 curves (1 to the bit)"
    assert told in done.stdout
    into = tmp_path / "results" / "quick" / "comparison"
    assert pd.read_csv(into / "agreement.csv")["agreement"].tolist() == ["differ", "agree"]
    assert {"agreement.parquet", "curves.png", "curves.pdf"} <= {
        path.name for path in into.iterdir()
    }


def test_without_committed_results_it_says_so_plainly(tmp_path, capsys):
    write(tmp_path / "gpu", spread_out(), {})
    with agreement.committed(tmp_path / "gpu") as found:
        assert found is None  # no git here
    git(tmp_path, "init")
    with agreement.committed(tmp_path / "gpu") as found:
        assert found is None  # nothing is committed
    assert call("compare", tmp_path / "gpu") == 0
    told = f"nothing is committed in {tmp_path / 'gpu'} to hold it against; name another folder to compare with\n"
    assert capsys.readouterr() == (told, "")


@pytest.mark.parametrize("arguments", [("none",), ("mine", "none")])
def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys, arguments):
    write(tmp_path / "mine", spread_out(), {})
    assert call("compare", *(tmp_path / name for name in arguments)) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "none" in told.err and "make reproduce PROTOCOL=none" in told.err


def test_the_committed_copy_is_what_git_has_not_what_lies_there(tmp_path):
    folder = write(tmp_path / "results" / "quick", spread_out(), {})
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "published")
    before = (folder / "runs.csv").read_bytes()
    shutil.rmtree(folder)
    write(folder, spread_out(), {0.1: spread_out()})
    with agreement.committed(folder) as found:
        assert found.name == "quick" and (found / "runs.csv").read_bytes() == before
    assert not found.exists()
