"""Protocols with several settings of the same data: scopes, the figure of the cells, its table."""

import math

import pandas as pd
import pytest
from cell_tables import run_id, write_cells
from claim_tables import SEEDS, call, constant, falling, judge, sweep
from figure_tables import drawing, legend, texts, title

from clr.analysis import tables
from clr.analysis.cells import cells_markdown, read_cells
from clr.analysis.report import summary
from clr.analysis.verdicts import agreement, evidence, rules
from clr.analysis.verdicts.table import read_claims
from clr.errors import UserError

SGD = {("sgd", rate): losses for rate, losses in sweep().items()}
FAST, SLOW = {("clr", None): falling(2.0)} | SGD, {("clr", None): falling(0.5)} | SGD
CELLS = {"init zero, batch norm": SLOW, "batch norm": FAST}


@pytest.fixture
def grid(tmp_path):
    return write_cells(tmp_path / "grid", CELLS)


def cells(folder):
    return read_cells(tables.read(folder)["cells"], rules.load())


def test_each_task_is_a_scope_in_the_order_of_the_protocol(grid):
    scopes = evidence.read(grid, 1.0).scopes
    assert [scope.task for scope in scopes] == ["task0", "task1"]
    assert str(scopes[0]) == "CIFAR-10, ResNet-18, batch size 64, init zero, batch norm"
    assert [scope.figures for scope in scopes] == [("cells",), ("cells",)]
    assert [len(scope.runs) for scope in scopes] == [4 * len(SEEDS)] * 2


def test_each_cell_has_a_verdict_of_its_own(grid):
    judged = judge(grid)
    claims = judged["claims"]
    quicker = claims[(claims["claim"] == "quicker") & (claims["data"] != "")]
    by_setting = quicker.set_index("setting")["verdict"].to_dict()
    assert by_setting == {"init zero, batch norm": "not reproduced", "batch norm": "reproduced"}
    for name in ("targets", "curves"):
        assert list(judged[name]["setting"].unique()) == list(CELLS)


def test_a_missing_run_belongs_to_its_task_alone(tmp_path):
    missing = [run_id(1, "clr", None, 2)]
    scopes = evidence.read(write_cells(tmp_path / "grid", CELLS, missing), 1.0).scopes
    assert [scope.missing for scope in scopes] == [0, 1]


def test_a_run_of_two_tasks_is_in_both_scopes(grid):
    path = grid / "figure_runs.csv"
    needed = pd.read_csv(path)
    shared = needed[needed["task"] == "task0"].assign(task="task1")
    pd.concat([needed[needed["task"] == "task0"], shared]).to_csv(path, index=False)
    runs = pd.read_csv(grid / "runs.csv")
    runs[runs["run_id"].isin(shared["run_id"])].to_csv(grid / "runs.csv", index=False)
    first, second = evidence.read(grid, 1.0).scopes
    assert first.runs.keys() == second.runs.keys() == set(shared["run_id"])


def test_tables_without_tasks_refuse_repeated_settings(grid):
    table = pd.read_csv(grid / "figure_runs.csv").drop(columns="task")
    table.to_csv(grid / "figure_runs.csv", index=False)
    with pytest.raises(UserError, match="two runs of the same settings and seed"):
        evidence.read(grid, 1.0)


def test_the_sweep_of_the_report_has_a_best_rate_in_each_cell(grid):
    rows = summary.configurations(tables.read_checked(grid))
    best = {row.setting: row.rate for row in rows if row.best}
    assert best == dict.fromkeys(CELLS, 0.1)
    assert len(rows) == 2 * 4


def test_two_folders_are_compared_cell_by_cell(grid):
    records = evidence.read(grid, 1.0)
    table = agreement.compare(records, records, rules.load().agreement)
    assert table.groupby("setting").size().to_dict() == dict.fromkeys(CELLS, 4)
    assert table["identical"].all()


def test_the_numbers_of_a_cell(grid):
    slow, fast = cells(grid)
    assert (slow.setting, fast.setting) == tuple(CELLS)
    clr, sgd = fast.curves
    assert (clr.optimizer, clr.rate, sgd.optimizer, sgd.rate) == ("clr", None, "sgd", 0.1)
    assert clr.loss.value == pytest.approx(0.999 * 2.0**-24)
    # 0.9 of the way of 24 halvings is 21.6: CLR is there at step 12, SGD, at 12, never is.
    assert clr.ratio.value == 0
    assert math.isinf(slow.curves[0].ratio.value)
    assert math.isnan(sgd.ratio.value)


def test_the_ratio_of_two_that_get_there(tmp_path):
    close = {("clr", None): falling(0.95)} | SGD
    (cell,) = cells(write_cells(tmp_path / "grid", {"only": close}))
    # 0.9 of the way of 12 halvings is 10.8: SGD needs 11 steps of 1, CLR 12 steps of 0.95.
    assert cell.curves[0].ratio.value == pytest.approx(13 / 12)


def test_the_figure_has_a_row_for_each_cell(tmp_path):
    warmed = SLOW | {("clr_warmup", None): falling(0.95)}
    lost = {("clr", None): {0: [1.0, None]} | {seed: falling(1)[seed] for seed in (1, 2)}} | SGD
    unlearned = {("clr", None): falling(1.0)} | {("sgd", 0.1): constant([1.0, None])}
    absent = [run_id(4, "clr", None, seed) for seed in SEEDS]
    settings = {"warmed": warmed, "fast": FAST, "lost": lost, "unlearned": unlearned}
    settings["absent"] = {("clr", None): falling(1.0)}
    figure = drawing(write_cells(tmp_path / "grid", settings, absent), "cells")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(settings)
    assert legend(left) == ["CLR", "CLR, cap warms up", "SGD, best fixed rate"]
    written = [text.get_text() for text in left.texts]
    lost_runs = ["1 of 3 runs diverged", "3 of 3 runs diverged", "no completed run"]
    assert written == ["0.1", "0.1", lost_runs[0], "0.1", *lost_runs[1:]]
    assert "SGD never gets there" in [text.get_text() for text in right.texts]
    assert "never gets there" in [text.get_text() for text in right.texts]
    assert "3 of 48 runs missing" in title(figure)
    assert "t interval" in texts(figure)
    dots = [line for line in left.lines if line.get_marker() == "D"]
    assert dots[0].get_xdata()[0] == pytest.approx(0.999 * 2.0 ** (-12 * 0.95))


def test_a_bar_of_the_figure_is_the_range_over_the_seeds(tmp_path):
    spread = {seed: [loss * (1 + seed) for loss in falling(1.0)[seed]] for seed in SEEDS}
    only = {"only": {("clr", None): spread} | SGD}
    left, _ = drawing(write_cells(tmp_path / "grid", only), "cells").axes
    (start, end) = left.collections[0].get_segments()[0][:, 0]
    assert (start, end) == pytest.approx((0.999 * 2.0**-12, 3 * 0.999 * 2.0**-12))


def test_the_table_of_the_cells(grid):
    table = cells_markdown(cells(grid), "sgd").splitlines()
    assert len(table) == 2 + len(CELLS)
    assert table[2].startswith(
        "| init zero, batch norm | 0.0156 (0.0156–0.0156) | not reached | 0.1:"
    )
    assert "best fixed rate: not reached" in table[3]


@pytest.mark.slow
def test_the_commands_on_a_folder_of_cells(grid, capsys):
    assert call("claims", grid, "--cells") == 0
    assert capsys.readouterr().out.count("batch norm |") == 2
    assert call("claims", grid) == 0
    assert set(read_claims(grid)["setting"]) == {"", *CELLS}
    assert call("figures", grid) == 0
    assert (grid / "figures" / "cells.svg").is_file()
    assert call("compare", grid, grid) == 0


def test_cells_of_a_protocol_without_them_is_one_line(tmp_path, capsys):
    folder = write_cells(tmp_path / "grid", CELLS)
    needed = pd.read_csv(folder / "figure_runs.csv").assign(figure="2")
    needed.to_csv(folder / "figure_runs.csv", index=False)
    assert call("claims", folder, "--cells") == 2
    assert "has no runs of the figure cells" in capsys.readouterr().err
