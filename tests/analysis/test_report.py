"""The report's page: its figures, what it says of missing ones, and its errors."""

import base64
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import report_folder
from figure_tables import ROOT
from PIL import Image

from clr.analysis import tables as results_tables
from clr.analysis.report import page, pictures, summary
from scripts import report as report_script

pytestmark = pytest.mark.slow


def read_pictures(folder):
    figures = results_tables.read(folder)
    return {picture.name: picture for picture in pictures.read_pictures(folder, figures)}


@pytest.fixture(scope="module")
def shown(reported):
    return read_pictures(reported)


def test_figures_are_in_the_order_of_the_paper_whatever_created_them(tmp_path):
    quick = report_folder.write(tmp_path / "quick")
    Image.new("RGB", (30, 20)).save(quick / "figures" / "figure10.png")
    read = read_pictures(quick)
    assert {picture.name: picture.number for picture in read.values()} == {
        "figure1": "Figure 1",
        "figure1_paths": "Figure 1, paths",
        "figure2": "Figure 2",
        "figure4": "Figure 4",
        "figure6": "Figure 6",
        "figure9": "Figure 9",
        "figure10": "Figure 10",
        "corridor_meter": "Corridor meter",
        "race": "Race",
    }
    assert list(read)[-3:] == ["figure10", "corridor_meter", "race"]
    assert (read["figure10"].width, read["figure10"].panels) == (30, [])


def test_figures_of_runs_have_interactive_panels(shown):
    panels = {name: len(picture.panels) for name, picture in shown.items()}
    assert panels == {
        "figure1": 0,
        "figure1_paths": 0,
        "figure2": 2,
        "figure4": 1,
        "figure6": 3,
        "figure9": 1,
        "corridor_meter": 7,
        "race": 2,
    }
    assert not any(picture.missing_command for picture in shown.values())


def test_title_and_caption_are_those_of_the_picture(shown):
    assert shown["figure2"].title == "CLR compared with the best fixed learning rate"
    facts, notes = shown["figure2"].caption
    runs = "ResNet-18 · batch size 256 · 12 epochs · fp32 · 5 seeds (0, 1, 2, 3, 4)"
    assert facts == f"digits (scikit-learn) · {runs}"
    assert notes.startswith("Scaled-down protocol “quick”")


def test_the_embedded_picture_has_the_pixels_of_the_file(reported, shown, tmp_path):
    picture = shown["figure2"]
    kind, _, content = picture.image.partition(",")
    assert kind == "data:image/webp;base64"
    (tmp_path / "two").write_bytes(base64.b64decode(content))
    file = reported / "figures" / "figure2.png"
    with Image.open(tmp_path / "two") as embedded, Image.open(file) as drawn:
        assert (picture.width, picture.height) == drawn.size
        assert np.array_equal(np.asarray(embedded.convert("RGB")), np.asarray(drawn.convert("RGB")))


def test_absent_figures_name_the_protocols_that_have_them():
    present = ["2", "4", "6", "9", "corridor_meter", "race"]
    absent = pictures.absent_figures(ROOT / "results" / "quick", present)
    assert {figures: first for figures, first, _ in absent}["Figures 3, 5, 7, 8"] == "cpu"


def test_several_figures_are_listed_by_number_then_by_name():
    assert pictures.list_figures(["4", "6", "corridor_meter"]) == "Figures 4, 6, Corridor meter"
    assert pictures.list_figures(["4"]) == "Figure 4"
    assert pictures.list_figures(["corridor_meter"]) == "Corridor meter"


def test_a_figure_without_runs_or_with_some_missing_names_the_command(tmp_path):
    quick = report_folder.write(tmp_path / "quick")
    runs = pd.read_csv(quick / "runs.csv", dtype={"run_id": str})
    kept = runs[~((runs["batch_size"] == 256) & (runs["optimizer"] == "clr"))]
    kept.to_csv(quick / "runs.csv", index=False)
    read = read_pictures(quick)
    command = "make reproduce PROTOCOL=quick ARGS=import_results=true"
    for name in ("figure2", "figure4", "figure6"):
        assert read[name].missing_command == command
    assert read["figure4"].image == ""
    assert read["figure4"].panels == []
    assert read["figure4"].caption == ["None of its 5 runs is completed."]
    assert read["figure2"].image
    assert read["figure2"].panels


AGREEMENT = (
    "dataset,model,batch_size,setting,optimizer,learning_rate,identical,windows,windows_within,"
    "final_loss,final_loss_low,final_loss_high,other_final_loss,other_final_loss_low,"
    "other_final_loss_high,agreement\n"
    "null,resnet18,64,,clr,,True,10,10,2,1,3,2,1,3,agree\n"
    "digits,resnet18,64,,sgd,0.1,False,10,7,5,4,6,8,7,9,differ\n"
)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Results with a comparison, as scripts/compare.py writes it. Read only."""
    quick = report_folder.write(tmp_path_factory.mktemp("compared") / "quick")
    (quick / "comparison").mkdir()
    Image.new("RGB", (30, 20)).save(quick / "comparison" / "curves.png")
    (quick / "comparison" / "agreement.csv").write_text(AGREEMENT)
    return quick


def test_without_a_comparison_none_is_shown(reported):
    assert summary.compared(reported) == []
    assert pictures.read_comparison(reported) is None


def test_a_comparison_has_a_row_for_each_curve(compared):
    same, differs = summary.compared(compared)
    assert (same.data, same.model, same.optimizer) == ("null", "ResNet-18", "CLR")
    assert same.rate is None
    assert same.agreement == "identical"
    assert differs.rate == 0.1
    assert differs.agreement == "differ"
    assert differs.loss == summary.Spread(5, 4, 6)
    assert differs.other_loss == summary.Spread(8, 7, 9)


@pytest.fixture(scope="module")
def html(compared):
    return page.build(compared)


def test_the_page_shows_the_comparison(html):
    assert "Comparison with other results" in html
    assert 'id="comparison"' in html
    assert "7 of 10" in html


def test_the_page_shows_text_of_the_tables_literally(html):
    assert "on ImageNet &lt;whole&gt;." in html
    assert "<whole>" not in html


def test_the_page_says_of_each_claim_when_its_rule_was_written(html):
    assert "This rule was written on 2026-02-01, after the author had seen &lt;all&gt;." in html
    assert "This rule was written on 2026-01-31, before any run." in html


def test_an_infinite_ratio_is_called_not_reached(html):
    assert "<strong>not reached</strong>" in html
    assert "∞" not in html


def test_the_command_writes_one_small_file_the_same_each_time(tmp_path):
    quick = report_folder.write(tmp_path / "quick")
    script = [sys.executable, str(ROOT / "scripts" / "report.py"), "quick"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    output = subprocess.check_output(script, cwd=tmp_path, env=environment, text=True)
    assert output == "quick/report.html\n"
    written = (quick / "report.html").read_bytes()
    assert len(written) < 3_000_000
    assert written == page.build(quick).encode()


def test_help_says_what_the_command_reads_and_writes(run_script, tmp_path):
    code, output, _ = run_script(report_script, "--help", cwd=tmp_path)
    assert code == 0
    assert "FOLDER/report.html" in output


CLAIMS = "make claims PROTOCOL=quick"
REPRODUCE = "make reproduce PROTOCOL=quick"


@pytest.fixture
def copy(reported, tmp_path):
    return shutil.copytree(reported, tmp_path / "quick")


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("claims.csv", CLAIMS),
        ("runs.jsonl", REPRODUCE),
        ("figures/figure4.png", "make figures PROTOCOL=quick"),
        ("protocol.json", REPRODUCE),
    ],
)
def test_a_missing_file_is_one_line_that_names_the_command(run_script, copy, missing, command):
    (copy / missing).unlink()
    expected = f"report.py: quick/{missing} is missing; create it with: {command}\n"
    assert run_script(report_script, "quick", cwd=copy.parent) == (2, "", expected)
    assert not (copy / "report.html").exists()


@pytest.mark.parametrize(
    ("file", "content", "command"),
    [
        ("claims.csv", b"", CLAIMS),
        ("claims.csv", b"claim\nquicker\n", CLAIMS),
        ("claims.csv", b"\xff\xfe\x00", CLAIMS),
        ("runs.jsonl", b"{", REPRODUCE),
        ("runs.jsonl", b"[]\n", REPRODUCE),
        ("figures/figure1.png", b"not a picture", "make figures PROTOCOL=quick"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_the_command(
    run_script, copy, file, content, command
):
    (copy / file).write_bytes(content)
    code, output, error = run_script(report_script, "quick", cwd=copy.parent)
    assert (code, output) == (2, "")
    assert error.startswith(f"report.py: quick/{file} ")
    assert error.endswith(f"create it again with: {command}\n")
    assert error.count("\n") == 1


def test_a_damaged_comparison_names_the_command(run_script, copy):
    (copy / "comparison").mkdir()
    (copy / "comparison" / "agreement.csv").write_text("dataset\ndigits\n")
    code, _, error = run_script(report_script, "quick", cwd=copy.parent)
    assert code == 2
    assert "agreement.csv is damaged: " in error
    assert error.endswith("create it again with: .venv/bin/python scripts/compare.py quick\n")
