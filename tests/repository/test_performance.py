"""docs/performance.md: its table is that of docs/performance.json, which benchmarks write."""

import json

import bench_table
import pytest
from markdown_pages import ROOT, between


def test_the_page_shows_what_was_measured():
    assert (
        between(bench_table.PAGE, f"{bench_table.BEGIN}\n\n", f"\n\n{bench_table.END}")
        == bench_table.markdown()
    )


def test_every_command_that_measured_is_a_benchmark():
    for command in json.loads(bench_table.MEASURED.read_text()):
        assert (ROOT / command.split()[1]).is_file(), command


@pytest.mark.parametrize(
    ("ratio", "aim", "cell"),
    [
        (2.0, "≥ 2.0", "2 (1–3) | ≥ 2.0: met"),
        (1.99, "≥ 2.0", "1.99 (1–3) | ≥ 2.0: **not met**"),
        (1.4, "≤ 1.40", "1.4 (1–3) | ≤ 1.40: met"),
        (1.41, "≤ 1.40", "1.41 (1–3) | ≤ 1.40: **not met**"),
        (None, "≤ 1.40", "not measured; why | ≤ 1.40: not measured"),
        (3.0, "", "3 (1–3) |  |"),
    ],
)
def test_a_row_says_whether_its_aim_is_met(tmp_path, monkeypatch, ratio, aim, cell):
    spread = {} if ratio is None else {"low": 1.0, "high": 3.0}
    note = "why" if ratio is None else ""
    rows = [bench_table.Row("a step", "a peer", ratio, **spread, aim=aim, note=note)]
    monkeypatch.setattr(bench_table, "MEASURED", tmp_path / "measured.json")
    monkeypatch.setattr(bench_table, "PAGE", tmp_path / "page.md")
    bench_table.PAGE.write_text(f"before\n{bench_table.BEGIN}\nold\n{bench_table.END}\nafter\n")
    bench_table.save("python bench/step.py", rows)
    before, table = bench_table.PAGE.read_text().split(bench_table.BEGIN)
    table, after = table.split(bench_table.END)
    assert cell in table
    assert "old" not in table
    assert (before, after) == ("before\n", "\nafter\n")
