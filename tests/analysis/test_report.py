"""The report: its curves are those of the pictures, its numbers are worked out by hand, and what is missing is told."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import report_folder
from figure_tables import HALVES, ROOT, drawing
from matplotlib.figure import Figure
from PIL import Image

from clr.analysis.figures import draw as figures
from clr.analysis.report import interactive, page, pictures, summary
from clr.cli import run_main
from scripts import report as report_script


def curves_of(folder, number, panel=0):
    return {curve.name: curve for curve in interactive._curves(drawing(folder, number).axes[panel])}


def test_the_panels_have_the_numbers_of_the_picture(tables):
    curves = curves_of(tables, 2)
    assert list(curves) == ["SGD 0.01", "SGD 0.3", "SGD 1", "SGD 1 diverged", "SGD 0.1", "CLR"]
    for name, rate in (("CLR", None), ("SGD 0.1", 0.1)):
        points, first = curves[name].points, HALVES[rate] ** np.arange(6)
        assert np.array_equal(points["x"], np.arange(1, 7))
        assert points["mean"].tolist() == pytest.approx(3 * first)
        assert points["low"].tolist() == pytest.approx(first) and points[
            "high"
        ].tolist() == pytest.approx(6 * first)
    assert "low" not in curves["SGD 0.3"].points
    assert curves["SGD 0.1"].label == "SGD, best rate 0.1"
    assert {curves[name].label for name in ("SGD 0.3", "SGD 1", "SGD 1 diverged")} == {
        "SGD, other rates"
    }


def test_the_panels_are_drawn_as_the_picture_is(tables):
    drawn = drawing(tables, 2)
    left, right = interactive.panels(drawn, "figure2")
    assert (left.target, left.title, right.target) == ("figure2-1", "Training loss", "figure2-2")
    text = json.dumps(left.item)
    assert left.item["target_id"] == "figure2-1" and '"LogScale"' in text
    low, high = drawn.axes[0].get_ylim()
    assert str(low) in text and str(high) in text and "step" in text
    legend = re.findall(r'"name": "LegendItem".*?"value": "([^"]+)"', text)
    assert legend == ["CLR", "SGD, best rate 0.1", "SGD, other rates"]
    for said in (
        "#0072b2",
        "#d55e00",
        "SGD, best rate 0.1",
        "SGD, other rates",
        "VArea",
        "HoverTool",
    ):
        assert said in text


def test_levels_and_error_bars_are_read_back(tables):
    level = curves_of(tables, 4)["SGD, best rate 0.1"]
    assert level.points["mean"].tolist() == [0.1, 0.1] and "low" not in level.points
    assert level.points["x"].tolist() == pytest.approx(drawing(tables, 4).axes[0].get_xlim())
    last = curves_of(tables, 6, panel=2)["CLR"]
    end = (1 + HALVES[None]) / 2 * HALVES[None] ** 4
    assert last.points["x"].tolist() == [64, 256] and not last.filled
    assert last.points["low"].tolist() == pytest.approx([end] * 2)
    assert last.points["high"].tolist() == pytest.approx([6 * end] * 2)


def test_what_panels_share_and_what_is_written_in_them_is_kept():
    figure = Figure()
    left, _ = figure.subplots(1, 2, sharey=True)
    left.set(ylabel="loss", xlabel="step (each point: the mean of 3)", xlim=(0, 4), ylim=(0, 8))
    left.plot([1, 2], [3, 4], label="CLR")
    left.axhline(4)
    left.text(0.5, 4, "corridor", transform=left.get_yaxis_transform(), ha="right", va="bottom")
    first, second = (json.dumps(panel.item) for panel in interactive.panels(figure, "a"))
    assert '"loss"' in second and '"text": "corridor"' in first
    at = re.search(r'"x": ([\d.]+), "y": ([\d.]+)}', first)
    assert (float(at[1]), float(at[2])) == pytest.approx((2, 4))
    assert "step @x" in first and "_child" not in first


def test_a_picture_of_something_else_stays_a_picture():
    for draw in (
        lambda ax: ax.imshow([[0, 1]]),
        lambda ax: ax.contourf([[0, 1], [1, 2]]),
        lambda ax: ax.bar([1], [2]),
    ):
        figure = Figure()
        ax = figure.subplots()
        ax.plot([1, 2], [3, 4])
        assert len(interactive.panels(figure, "a")) == 1
        draw(ax)
        assert interactive.panels(figure, "a") == []
    solid = Figure()
    solid.add_subplot(projection="3d")
    assert interactive.panels(solid, "a") == []


def test_colours_that_dark_paper_would_swallow_are_others_there():
    def contrast(color):
        return interactive._contrast(color, interactive.DARK_PAPER)

    for color in ("#00253f", "#222222", "#004c79"):
        assert contrast(color) < 3 < contrast(interactive.on_dark(color))
    assert [interactive.on_dark(color) for color in ("#d55e00", "#0072b2")] == [
        "#d55e00",
        "#0072b2",
    ]
    # The greys stay behind these, in their order
    light, dark = (contrast(interactive.on_dark(color)) for color in ("#cccccc", "#808080"))
    assert contrast("#cccccc") > light > dark > 3
    assert interactive._contrast("#ffffff", "#000000") == pytest.approx(21)


def shown(folder):
    return {picture.name: picture for picture in pictures.pictures(folder, figures.DRAW)}


def test_figures_are_in_the_papers_order_whoever_made_them(tmp_path):
    quick = report_folder.write(tmp_path / "quick")
    for name in ("corridor_meter", "figure1", "figure1_paths", "figure9", "figure10"):
        if not (quick / "figures" / f"{name}.png").exists():
            Image.new("RGB", (30, 20)).save(quick / "figures" / f"{name}.png")
    made = shown(quick)
    order = [
        "figure1",
        "figure1_paths",
        "figure2",
        "figure4",
        "figure6",
        "figure9",
        "figure10",
        "corridor_meter",
    ]
    assert list(made) == order
    numbers = [
        "Figure 1",
        "Figure 1, paths",
        "Figure 2",
        "Figure 4",
        "Figure 6",
        "Figure 9",
        "Figure 10",
        "Corridor meter",
    ]
    assert [picture.number for picture in made.values()] == numbers
    assert [len(made[name].panels) for name in ("figure1", "figure2", "figure4", "figure6")] == [
        0,
        2,
        1,
        3,
    ]
    assert (made["figure10"].width, made["figure10"].panels) == (30, [])
    assert not any(picture.remedy for picture in made.values())


def test_title_and_caption_are_those_of_the_picture(reported):
    two = shown(reported)["figure2"]
    assert two.title == "CLR against the best fixed learning rate"
    facts, notes = two.caption
    assert (
        facts
        == "digits (scikit-learn) · ResNet-18 · batch size 256 · 6 epochs · fp32 · 3 seeds (0, 1, 2)"
    )
    assert (
        notes.startswith("Scaled-down protocol “quick”")
        and "bands reach from the lowest to the highest" in notes
    )


def test_the_picture_in_the_page_is_that_of_the_file_to_the_pixel(reported, tmp_path):
    two = shown(reported)["figure2"]
    kind, _, content = two.image.partition(",")
    (tmp_path / "two").write_bytes(base64.b64decode(content))
    with (
        Image.open(tmp_path / "two") as embedded,
        Image.open(reported / "figures" / "figure2.png") as drawn,
    ):
        assert kind == "data:image/webp;base64" and (two.width, two.height) == drawn.size
        assert np.array_equal(np.asarray(embedded.convert("RGB")), np.asarray(drawn.convert("RGB")))


def test_figures_that_the_protocol_does_not_have_name_those_that_do(reported, tmp_path):
    assert ("Figures 3, 5, 7", "cpu", ["gpu", "paper"]) in pictures.elsewhere(reported)
    shutil.copytree(reported, tmp_path / "quick")
    named = pd.read_csv(reported / "figure_runs.csv", dtype=str)
    named[named["figure"] != "4"].to_csv(tmp_path / "quick" / "figure_runs.csv", index=False)
    (own,) = [
        found for found in pictures.elsewhere(tmp_path / "quick") if found[0].startswith("Figure 4")
    ]
    assert own[1:] == ("quick", ["cpu", "gpu", "paper"])  # theirs first
    assert (
        pictures._list(["4", "6", "corridor_meter"]) == "Figures 4, 6, Corridor meter"
        and pictures._list(["4"]) == "Figure 4"
    )


def test_a_figure_without_runs_says_what_makes_them_and_a_partial_one_too(tmp_path):
    quick = report_folder.write(tmp_path / "quick")
    runs = pd.read_csv(quick / "runs.csv", dtype={"run_id": str})
    kept = runs[~((runs["batch_size"] == 256) & (runs["optimizer"] == "clr"))]
    kept.to_csv(quick / "runs.csv", index=False)
    made = shown(quick)
    two, four, six = (made[f"figure{number}"] for number in (2, 4, 6))
    makes = "make reproduce PROTOCOL=quick ARGS=import_results=true"
    assert [picture.remedy for picture in (two, four, six)] == [makes] * 3
    assert (four.image, four.panels, four.caption) == (
        "",
        [],
        ["None of its 3 runs has been made yet."],
    )
    assert two.image and two.panels and six.panels


def test_a_comparison_is_shown_where_one_was_made(tmp_path):
    quick = report_folder.write(tmp_path / "quick")
    assert (summary.compared(quick), pictures.comparison(quick)) == ([], None)
    (quick / "comparison").mkdir()
    Image.new("RGB", (30, 20)).save(quick / "comparison" / "curves.png")
    (quick / "comparison" / "agreement.csv").write_text(
        "dataset,model,batch_size,optimizer,learning_rate,identical,windows,windows_within,final_loss,final_loss_low,"
        "final_loss_high,other_final_loss,other_final_loss_low,other_final_loss_high,agreement\n"
        "digits,resnet18,64,clr,,True,10,10,2,1,3,2,1,3,agree\n"
        "digits,resnet18,64,sgd,0.1,False,10,7,5,4,6,8,7,9,differ\n"
    )
    same, differs = summary.compared(quick)
    assert (same.model, same.optimizer, same.rate, same.agreement) == (
        "ResNet-18",
        "CLR",
        None,
        "agree, to the bit",
    )
    assert (differs.rate, differs.agreement, differs.windows_within) == (0.1, "differ", 7)
    assert (differs.loss, differs.other_loss) == (summary.Spread(5, 4, 6), summary.Spread(8, 7, 9))
    html = page.build(quick, figures.DRAW)
    assert "7 of 10" in html and "Held against other results" in html and 'id="comparison"' in html


def test_what_the_tables_say_is_text_and_not_markup(reported):
    html = page.build(reported, figures.DRAW)
    assert "on ImageNet &lt;whole&gt;." in html and "<whole>" not in html


def call(monkeypatch, capsys, folder):
    """`python scripts/report.py FOLDER`, called where `folder` lies: status, output and errors."""
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(sys, "argv", ["report.py", folder.name])
    with pytest.raises(SystemExit) as end:
        run_main(report_script.main)
    return end.value.code, *capsys.readouterr()


def test_the_door_writes_one_small_file_and_another_time_the_same(tmp_path):
    door = [sys.executable, str(ROOT / "scripts" / "report.py"), "quick"]
    places = [report_folder.write(tmp_path / place / "quick").parent for place in "ab"]
    there = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "stdout": subprocess.PIPE, "text": True}
    for process in [subprocess.Popen(door, cwd=place, **there) for place in places]:
        assert process.communicate()[0] == "quick/report.html\n" and process.returncode == 0
    first, second = ((place / "quick" / "report.html").read_bytes() for place in places)
    assert first == second and len(first) < 3_000_000


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("claims.csv", ".venv/bin/python scripts/claims.py quick"),
        ("runs.jsonl", "make reproduce PROTOCOL=quick"),
        ("figures/figure4.png", "make figures PROTOCOL=quick"),
        ("protocol.json", "make reproduce PROTOCOL=quick"),
    ],
)
def test_what_is_missing_is_one_line_with_the_remedy(
    tmp_path, monkeypatch, capsys, missing, remedy
):
    quick = report_folder.write(tmp_path / "quick")
    (quick / missing).unlink()
    told = f"report.py: quick/{missing} is missing; make it with: {remedy}\n"
    assert call(monkeypatch, capsys, quick) == (2, "", told)
    assert not (quick / "report.html").exists()
