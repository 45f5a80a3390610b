"""scripts/figures.py: the files it writes, the same each time, and its errors."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from figure_tables import ROOT, drawing, edit_parquet, edit_runs, write

from clr.analysis import tables as results_tables
from clr.analysis.figures import draw, picture_files, style
from clr.analysis.figures.availability import known_figures, missing_lines
from clr.errors import UserError
from scripts import figures as figures_script


def command(*args, cwd):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    script = [sys.executable, str(ROOT / "scripts" / "figures.py"), *args]
    return subprocess.run(script, cwd=cwd, env=environment, capture_output=True, text=True)


def only_figure(folder, figure):
    named = pd.read_csv(folder / "figure_runs.csv", dtype=str)
    named[named["figure"] == figure].to_csv(folder / "figure_runs.csv", index=False)
    return folder


@pytest.mark.slow
def test_drawing_twice_gives_the_same_files(tmp_path):
    folder = only_figure(write(tmp_path / "results" / "quick"), "2")
    names = ["figure1", "figure1_paths", "figure2"]
    expected = [f"{name}.{kind}" for name in names for kind in ("png", "pdf", "svg")]
    done = command("results/quick", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.splitlines()
    assert printed[: len(expected)] == [f"results/quick/figures/{name}" for name in expected]
    assert printed[len(expected)].startswith("Figure 3 is not part of the protocol quick")
    first = {name: (folder / "figures" / name).read_bytes() for name in expected}
    picture_files.draw_all(folder)  # in another process, at another time
    assert {name: (folder / "figures" / name).read_bytes() for name in expected} == first


def test_the_files_are_png_pdf_and_svg_without_dates_and_versions(tables, tmp_path):
    paths = style.save(drawing(tables, 2), tmp_path / "two")
    png, pdf, svg = (path.read_bytes() for path in paths)
    assert png.startswith(b"\x89PNG")
    assert pdf.startswith(b"%PDF")
    assert svg.startswith(b"<?xml")
    assert b"CreationDate" not in pdf
    assert b"/Type3" not in pdf  # fonts are TrueType, so that text can be selected
    assert b"Matplotlib" not in svg
    assert b"<dc:date>" not in svg


def test_help_says_what_the_command_reads_and_writes(run_script, tmp_path):
    code, output, _ = run_script(figures_script, "--help", cwd=tmp_path)
    assert code == 0
    assert "FOLDER/figures" in output
    assert "example: python scripts/figures.py results/quick" in output


def test_a_missing_table_is_one_line_that_names_the_command(run_script, tmp_path):
    (write(tmp_path / "quick") / "steps.parquet").unlink()
    expected = (
        "figures.py: quick/steps.parquet is missing; create it with: make reproduce PROTOCOL=quick"
    )
    assert run_script(figures_script, "quick", cwd=tmp_path) == (2, "", f"{expected}\n")


def refusal(folder):
    """The message of the error that reading the tables or drawing the figures ends with."""
    with pytest.raises(UserError) as error:
        picture_files.draw_all(folder)
    message = str(error.value)
    assert "\n" not in message
    return message


def edit_csv(name, edit):
    def change(folder):
        table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        edit(table).to_csv(folder / name, index=False)

    return change


def edit_table(name, edit):
    return lambda folder: edit_parquet(folder, name, edit)


def write_file(name, content):
    return lambda folder: (folder / name).write_bytes(content)


DAMAGE = {
    "no figure": (edit_csv("figure_runs.csv", lambda t: t[:0]), "figure_runs.csv names no figure"),
    "lacking run": (
        edit_table("epochs", lambda t: t[t["run_id"] != "6402"]),
        "epochs.parquet lacks the finished run 6402 of runs.csv",
    ),
    "no column": (
        edit_csv("runs.csv", lambda t: t.drop(columns="batch_size")),
        "runs.csv has no column batch_size",
    ),
    "no column of steps": (
        edit_table("steps", lambda t: t.drop(columns="loss")),
        "steps.parquet has no column loss",
    ),
    "text": (edit_csv("runs.csv", lambda t: t.assign(seed="a")), "column seed"),
    "text of steps": (edit_table("steps", lambda t: t.assign(loss="a")), "column loss"),
    "empty cell": (
        edit_csv("runs.csv", lambda t: t.assign(batch_size="")),
        "runs.csv has a run without batch_size",
    ),
    "run twice": (
        edit_csv("runs.csv", lambda t: pd.concat([t, t[:1]])),
        "runs.csv has two rows for run_id 6400",
    ),
    "step twice": (
        edit_table("steps", lambda t: pd.concat([t, t[:1]])),
        "steps.parquet has two rows for run_id 6400, step 1",
    ),
    "protocol null": (write_file("protocol.json", b"null"), "protocol.json is not a JSON object"),
    "protocol": (write_file("protocol.json", b"{}"), "protocol.json has no name"),
    "truncated JSON": (write_file("protocol.json", b'{"name": '), "protocol.json cannot be read"),
    "empty CSV": (write_file("runs.csv", b""), "runs.csv cannot be read"),
    "CSV of an empty table": (write_file("runs.csv", b"\n"), "runs.csv cannot be read"),
    "binary CSV": (write_file("figure_runs.csv", b"\xff\xfe\x00"), "figure_runs.csv cannot be"),
    "empty Parquet": (write_file("steps.parquet", b""), "steps.parquet cannot be read"),
    "damaged Parquet": (write_file("epochs.parquet", b"PAR1abcPAR1"), "epochs.parquet cannot be"),
    "damaged meter": (write_file("corridor_meter.parquet", b"PAR1"), "corridor_meter.parquet can"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_tables_are_one_line_that_names_the_command(tmp_path, damage, message):
    folder = write(tmp_path / "quick")
    damage(folder)
    refused = refusal(folder)
    assert message in refused
    assert refused.endswith("create it again with: make reproduce PROTOCOL=quick")


def test_an_unknown_figure_is_named_with_the_known_ones(tmp_path):
    edit_csv("figure_runs.csv", lambda t: t.assign(figure=10))(write(tmp_path))
    known = "2, 3, 4, 5, 6, 7, 8, 9, arena, cells, corridor_meter, race"
    assert f"names the unknown figure 10; the known ones are {known}" in refusal(tmp_path)


def test_a_file_instead_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "quick"
    path.write_text("")
    assert f"{path} is not a folder; pass a folder with results" in refusal(path)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    assert f"{tmp_path / 'no'} does not exist; pass a folder" in refusal(tmp_path / "no")


def test_a_file_at_the_place_of_the_pictures_is_refused(tmp_path):
    (write(tmp_path) / "figures").write_text("")
    assert f"cannot create the folder {tmp_path / 'figures'}" in refusal(tmp_path)


def test_the_error_of_a_figure_names_the_folder_and_the_figure(tmp_path):
    edit_runs(write(tmp_path, batch_sizes=(64,)), lambda t: t["run_id"] == "6401", seed=0)
    with pytest.raises(UserError, match=f"{tmp_path}, figure 2: a panel shows one run per"):
        draw.draw_figure(tmp_path, "2", results_tables.read(tmp_path)["2"])


def test_a_table_of_runs_without_rows_gives_a_line_per_figure(tmp_path):
    """An interrupted sweep may leave such a table."""
    folder = write(tmp_path / "gpu")
    edit_csv("runs.csv", lambda t: t[:0])(folder)
    missing = missing_lines(folder, results_tables.read(folder))
    assert missing[0].startswith("Figure 2 lacks 15 of its 15 runs; train them with: make")
    assert len(missing) == 10


def test_every_figure_of_the_sweep_is_drawn_and_documented():
    assert set(draw.DRAW) == set(known_figures())
    documented = (ROOT / "docs" / "protocols.md").read_text()
    for figure in known_figures():
        if not figure.isdigit():
            assert f"`{figure}`" in documented
