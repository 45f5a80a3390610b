"""scripts/arena.py, the page of the arena, and the committed results."""

import json

import pandas as pd
import pytest
from arena_tables import ending, write_arena
from claim_tables import ROOT, call

from clr.analysis.arena.cost import read_costs
from clr.analysis.arena.display import page_blocks, settings, summary
from clr.analysis.arena.table import arena_tables, read_arena, read_table
from clr.analysis.verdicts import rules
from clr.errors import UserError

COMMITTED = sorted(path.parent for path in (ROOT / "results").glob("arena*/runs.csv"))
PAGE = ROOT / "docs" / "arena.md"
SGD = {0.1: ending(2, 2, 2), 0.3: ending(1, 1, 1), 1.0: ending(0.5, 0.5, None)}
METHODS = {
    "clr": {None: ending(2.0, 2.1, 2.2)},
    "sgd": SGD,
    "adam | x": {None: ending(0.5, 0.49, 0.48)},
    "alpha": {1: ending(None, 1, 1), 2: ending(1, 1, None)},
}
GRIDS = {"alpha": {"key": "c", "values": [1, 2], "default": 2}}
COSTS = {
    "model": "parameters of resnet18",
    "hardware": "a processor",
    "threads": 2,
    "torch": "2.0",
    "date": "2026-01-31",
    "methods": {
        "sgd": {"time_ratio": 1.0, "memory_ratio": 1.0},
        "clr": {"time_ratio": 1.5, "memory_ratio": 1.0},
    },
}


@pytest.fixture
def folder(tmp_path):
    return write_arena(tmp_path / "arena", {32: METHODS, 64: METHODS}, GRIDS)


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda path: path.name)
def test_committed_tables_follow_from_the_committed_runs(folder):
    for name, table in arena_tables(read_arena(folder), rules.load()).items():
        assert (folder / f"{name}.csv").read_text() == table.to_csv(index=False), name
        committed = pd.read_parquet(folder / f"{name}.parquet")
        pd.testing.assert_frame_equal(committed, table, check_exact=True)


def test_the_page_shows_the_committed_tables():
    text = PAGE.read_text()
    if not COMMITTED:
        assert "No results are committed yet." in text
        return
    arena = pd.concat([read_table(folder) for folder in COMMITTED], ignore_index=True)
    for name, block in page_blocks(arena, read_costs(COMMITTED[0]), rules.load()).items():
        expected = f"<!-- arena {name} -->\n\n{block}\n\n<!-- end of arena {name} -->"
        assert expected in text, f"update docs/arena.md: {PAGE} has an old block {name}"
        if name == "summary":
            assert expected in (ROOT / "README.md").read_text(), "update README.md"


def test_the_command_writes_tables_and_the_page(folder, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- arena summary -->\nold\n<!-- end of arena summary -->\nb\n")
    assert call("arena", folder, "--page", page) == 0
    printed = capsys.readouterr().out
    for name, table in arena_tables(read_arena(folder), rules.load()).items():
        assert (folder / f"{name}.csv").read_text() == table.to_csv(index=False), name
    block = summary(read_table(folder), None, rules.load())
    assert block in printed
    begin, end = "<!-- arena summary -->", "<!-- end of arena summary -->"
    assert page.read_text() == f"a\n{begin}\n\n{block}\n\n{end}\nb\n"
    assert f"{page} is updated" in printed
    assert call("arena", folder, "--page", page) == 0
    assert f"{page} is up to date" in capsys.readouterr().out


def test_the_summary_has_one_row_for_each_method(folder):
    (folder / "cost.json").write_text(json.dumps(COSTS))
    arena = arena_tables(read_arena(folder), rules.load())["arena"]
    lines = summary(arena, read_costs(folder), rules.load()).splitlines()
    assert lines[2] == "| CLR | nothing | – | 2.1 (2.1–2.1) | 2 worse | – | 1.50× | 1.00× |"
    assert lines[3] == ("| SGD | lr, 3 values | 1 (1–1) | 2 (2–2) | – | 2 better | 1.00× | 1.00× |")
    assert lines[4].startswith(
        r"| adam \| x | nothing | – | 0.49 (0.49–0.49) | 2 better | 2 better"
    )
    assert lines[5] == (
        "| alpha | c, 2 values | diverged in 2 of 2 | diverged in 2 of 2 | 2 diverged | 2 diverged "
        "| – | – |"
    )
    assert "flatters tuned methods slightly" in lines[-1]
    assert "a processor, 2 threads, PyTorch 2.0, 2026-01-31" in lines[-1]


def test_each_setting_has_a_table(folder):
    text = settings(arena_tables(read_arena(folder), rules.load())["arena"], rules.load())
    assert text.count("### CIFAR-10, ResNet-18, batch size") == 2
    lines = text.splitlines()
    assert (
        "| alpha | c, all values | 2 of 6 runs diverged | – | diverged | – | diverged | – |"
        in lines
    )
    (tuned,) = [line for line in lines[:12] if line.startswith("| SGD | lr 0.3, tuned")]
    assert "| 1 (1–1) | –" in tuned
    assert tuned.endswith("| better | 60.0 (50.0–70.0) |")


def test_one_line_says_whether_half_the_scale_closes_the_gap(tmp_path):
    sgd = {0.3: ending(1, 1.01, 0.99)}
    clr = {None: ending(2, 2.02, 1.98)}
    scaled = {"key": "c", "values": [0.5, 1.0], "default": 0.5}

    def methods(*losses):
        return {"sgd": sgd, "clr": clr, "clr_scaled": {0.5: ending(*losses), 1.0: clr[None]}}

    settings = {
        16: methods(1, 1, 1.02),  # closed
        32: methods(1.5, 1.51, 1.49),  # smaller
        64: methods(2, 2.5, 1.9),  # not smaller
        128: methods(1, 1, None),  # diverged: not smaller
        256: {**methods(1, 1, 1), "clr": {None: ending(1, 1, 1)}},  # no gap
    }
    folder = write_arena(tmp_path / "arena", settings, {"clr_scaled": scaled})
    arena = arena_tables(read_arena(folder), rules.load())["arena"]
    line = page_blocks(arena, None, rules.load())["half"]
    assert (
        "CLR is worse than SGD in 4 of 5 settings. With c = 1/2 the gap is closed in 1 of them, "
        "smaller in 1 and not smaller in 2."
    ) in line
    (row,) = arena[(arena["batch_size"] == 32) & (arena["value"] == 0.5)].head(1).to_dict("records")
    low, high = (f"{row[f'over_clr_{end}']:.3g}" for end in ("low", "high"))
    ratios = f"0.75 ({low}–{high}) better over CLR, 1.5 (1.49–1.51) worse over SGD"
    assert f"CIFAR-10 at batch size 32: {ratios};" in line
    assert "CIFAR-10 at batch size 128: – diverged over CLR, – diverged over SGD;" in line
    assert "\n" not in line
    only_clr = arena[arena["optimizer"] != "clr_scaled"]
    assert "half" not in page_blocks(only_clr, None, rules.load())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"methods": {"sgd": {}}}'])
def test_a_damaged_cost_is_one_line(folder, content):
    (folder / "cost.json").write_text(content)
    with pytest.raises(UserError, match=r"cost.json is damaged .*; create it again with"):
        read_costs(folder)


def test_mistakes_of_the_command_are_one_line(folder, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("no markers")
    assert call("arena", folder, "--page", page) == 2
    assert "has no <!-- arena summary -->" in capsys.readouterr().err
    assert call("arena", folder, "--page", tmp_path) == 2
    assert "is not a file; give a page" in capsys.readouterr().err
    assert call("arena", tmp_path / "nope") == 2
    assert "does not exist; pass a folder with results" in capsys.readouterr().err
