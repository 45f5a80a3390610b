"""Picture files of a folder of results: the committed ones, and a line for each missing figure."""

import shutil
from xml.etree import ElementTree

import pandas as pd
import pytest
from figure_tables import ROOT, drawing, write
from PIL import Image, ImageChops

from clr.analysis import tables as results_tables
from clr.analysis.figures import picture_files, style
from clr.analysis.figures.availability import missing_lines, owners_of_absent

pytestmark = pytest.mark.slow

FOLDERS = sorted(path.parent for path in (ROOT / "results").glob("*/runs.csv"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_committed_pictures_are_those_of_the_committed_tables(folder, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("figures", "comparison"))
    drawn, _ = picture_files.draw_all(copy)
    assert {path.name for path in drawn} == {path.name for path in (folder / "figures").iterdir()}
    for path in drawn:
        committed = folder / "figures" / path.name
        if path.suffix == ".svg":
            assert path.read_bytes() == committed.read_bytes(), path.name
        if path.suffix == ".png":
            # Compare pixels, because another version of zlib compresses them into other bytes.
            with Image.open(path) as new, Image.open(committed) as kept:
                assert new.size == kept.size, path.name
                difference = ImageChops.difference(new.convert("RGB"), kept.convert("RGB"))
                assert difference.getbbox() is None, path.name


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/figures/*.svg")), ids=str)
def test_ids_in_a_committed_svg_are_unique(path):
    ids = [part.get("id") for part in ElementTree.parse(path).iter() if part.get("id")]
    assert len(ids) == len(set(ids))


def test_a_png_contains_title_and_caption_as_text(tables, tmp_path):
    png, *_ = style.save(drawing(tables, 2), tmp_path / "two")
    with Image.open(png) as picture:
        assert picture.text["Title"] == "CLR compared with the best fixed learning rate"
        facts, notes = picture.text["Description"].split("\n")
    assert facts.startswith("CIFAR-10, 5,000 images · ResNet-18")
    assert notes.endswith("×: the first seed of this curve diverged here.")


def without(folder, query="seed < 0", figures=None):
    """Tables without the runs that match `query`, and only of `figures` if given."""
    runs = pd.read_csv(write(folder) / "runs.csv", dtype={"run_id": str})
    runs.drop(runs.query(query).index).to_csv(folder / "runs.csv", index=False)
    named = pd.read_csv(folder / "figure_runs.csv", dtype=str)
    named = named[named["figure"].isin(figures or named["figure"])]
    named.to_csv(folder / "figure_runs.csv", index=False)
    return folder


def lines(folder):
    return missing_lines(folder, results_tables.read(folder))


CLR_AT_64 = "batch_size == 64 and optimizer == 'clr'"
COMPLETE = "make reproduce PROTOCOL={} ARGS=import_results=true"


def test_complete_results_have_no_missing_lines(tmp_path):
    assert lines(write(tmp_path / "gpu")) == []


def test_a_figure_that_lacks_runs_names_the_command_that_trains_them(tmp_path):
    names = [*(f"Figure {number}" for number in range(2, 10)), "Corridor meter", "Race"]
    planned = [15, 6, 15, 3, 30, 15, 30, 6, 15, 30]
    assert lines(without(tmp_path / "gpu", CLR_AT_64)) == [
        f"{name} lacks 3 of its {runs} runs; train them with: {COMPLETE.format('gpu')}"
        for name, runs in zip(names, planned, strict=True)
    ]


def test_a_figure_without_runs_is_skipped_and_the_others_are_drawn(tmp_path):
    folder = without(tmp_path / "gpu", CLR_AT_64, figures=["5", "9"])
    drawn, missing = picture_files.draw_all(folder)
    assert {path.stem for path in drawn} == {"figure1", "figure1_paths", "figure9"}
    assert missing == lines(folder)
    assert len(missing) == 10


def test_a_figure_of_the_protocol_without_runs_names_the_command_that_trains_them(tmp_path):
    names = ["2", "3", "4", "5", "6", "9", "corridor_meter", "race"]
    folder = without(tmp_path / "cpu", figures=names)
    assert lines(folder)[0] == (
        f"Figure 7 has no runs in {folder}; train them with: "
        f".venv/bin/python sweep.py protocol=cpu figure=7 results={tmp_path}"
    )
    folder = without(tmp_path / "my results" / "quick", figures=["2"])
    assert (
        f"Corridor meter has no runs in {folder}; train them with: "
        ".venv/bin/python sweep.py protocol=quick figure=corridor_meter "
        f"results='{tmp_path}/my results'"
    ) in lines(folder)


def test_a_figure_without_runs_in_the_committed_results_is_completed_by_make(tmp_path):
    folder = ROOT / "results" / "quick"
    figures = results_tables.read(folder)
    del figures["4"]
    line = f"Figure 4 has no runs in {folder}; train them with: {COMPLETE.format('quick')}"
    assert line in missing_lines(folder, figures)


def test_a_figure_of_another_protocol_names_that_protocol(tmp_path):
    line = "Figure 8 is not part of the protocol quick; create it with: make reproduce PROTOCOL="
    assert f"{line}cpu" in lines(without(tmp_path / "quick", figures=["2"]))


def test_absent_figures_are_grouped_by_the_protocols_that_have_them():
    present = ["2", "6", "9", "corridor_meter", "race"]
    groups = {first: figures for figures, first, _ in owners_of_absent("quick", present)}
    assert groups["quick"] == ["4"]  # quick has it, although these results do not
    assert groups["cpu"] == ["3", "5", "7", "8"]
