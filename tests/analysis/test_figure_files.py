"""Which pictures a folder of results gets: those that are committed, and a line for each that lacks runs."""

import shutil
from xml.etree import ElementTree

import pandas as pd
import pytest
from figure_tables import ROOT, write
from PIL import Image, ImageChops

from clr.analysis.figures import draw as figures

FOLDERS = sorted(path.parent for path in (ROOT / "results").glob("*/runs.csv"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_committed_pictures_are_those_of_the_committed_tables(folder, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("figures", "comparison"))
    drawn, _ = figures.draw_all(copy)
    assert {path.name for path in drawn} == {path.name for path in (folder / "figures").iterdir()}
    for path in drawn:
        committed = folder / "figures" / path.name
        if path.suffix == ".svg":
            ids = [part.get("id") for part in ElementTree.parse(path).iter() if part.get("id")]
            assert len(ids) == len(set(ids)), path.name
            assert path.read_bytes() == committed.read_bytes(), path.name
        if path.suffix == ".png":  # the pixels, for another zlib packs them into other bytes
            with Image.open(path) as made, Image.open(committed) as kept:
                assert made.size == kept.size, path.name
                assert (
                    ImageChops.difference(made.convert("RGB"), kept.convert("RGB")).getbbox()
                    is None
                ), path.name


def without(folder, query="seed < 0", figures=None):
    """A protocol's tables without the runs that `query` finds; figure_runs.csv names only those `figures`, if given."""
    runs = pd.read_csv(write(folder) / "runs.csv", dtype={"run_id": str})
    runs.drop(runs.query(query).index).to_csv(folder / "runs.csv", index=False)
    named = pd.read_csv(folder / "figure_runs.csv", dtype=str)
    named[named["figure"].isin(figures or named["figure"])].to_csv(
        folder / "figure_runs.csv", index=False
    )
    return folder


def lines(folder):
    return figures.missing.lines(folder, figures.tables.read(folder))


CLR_AT_64 = "batch_size == 64 and optimizer == 'clr'"
MAKE = "make reproduce PROTOCOL={} ARGS=import_results=true"


def test_a_figure_that_lacks_runs_names_the_command_that_makes_them(tmp_path):
    assert lines(write(tmp_path / "gpu")) == []
    names = [*(f"Figure {number}" for number in range(2, 10)), "The figure corridor_meter"]
    of = [15, 6, 15, 3, 30, 15, 30, 6, 15]
    assert lines(without(tmp_path / "gpu", CLR_AT_64)) == [
        f"{name} lacks 3 of its {all_runs} runs; make them with: {MAKE.format('gpu')}"
        for name, all_runs in zip(names, of, strict=True)
    ]


def test_a_figure_without_any_run_is_not_drawn_and_holds_up_no_other(tmp_path):
    folder = without(tmp_path / "gpu", CLR_AT_64, figures=["5", "9"])
    drawn, lacking = figures.draw_all(folder)
    assert {path.stem for path in drawn} == {
        "figure1",
        "figure1_paths",
        "figure9",
    }  # Figure 1 needs no runs
    assert lacking == lines(folder) and len(lacking) == 9


def test_a_figure_of_another_protocol_names_that_protocol(tmp_path):
    folder = without(tmp_path / "cpu", figures=["2", "3", "4", "5", "6", "9", "corridor_meter"])
    assert lines(folder) == [
        f"Figure 7 has no runs in {folder}; make them with: {MAKE.format('cpu')}",
        "Figure 8 is not in protocol cpu; make it with: make reproduce PROTOCOL=gpu",
    ]
    quick = without(tmp_path / "quick", figures=["2"])
    assert "Figure 3 is not in protocol quick; make it with: make reproduce PROTOCOL=cpu" in lines(
        quick
    )
    assert (
        f"The figure corridor_meter has no runs in {quick}; make them with: {MAKE.format('quick')}"
        in lines(quick)
    )
