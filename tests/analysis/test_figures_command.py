"""scripts/figures.py as a door: the files it writes, the same each time, and what it says of tables that do not do."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from figure_tables import ROOT, drawing, write
from PIL import Image

from clr.analysis.figures import draw as figures


def command(*args, cwd):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    door = [sys.executable, str(ROOT / "scripts" / "figures.py"), *args]
    return subprocess.run(door, cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_door_draws_every_figure_and_a_second_drawing_is_the_same(tmp_path):
    folder = write(tmp_path / "results" / "quick")
    names = [*(f"figure{name}" for name in ("1", "1_paths", *range(2, 10))), "corridor_meter"]
    expected = [f"{name}.{kind}" for name in names for kind in ("png", "pdf", "svg")]
    done = command("results/quick", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [f"results/quick/figures/{name}" for name in expected]
    first = {name: (folder / "figures" / name).read_bytes() for name in expected}
    figures.draw_all(folder)  # another process, another time
    assert {name: (folder / "figures" / name).read_bytes() for name in expected} == first
    magic = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    assert all(first[name].startswith(magic[name[-3:]]) for name in expected)
    assert b"/Type3" not in first["figure2.pdf"] and b"CreationDate" not in first["figure2.pdf"]
    assert b"Matplotlib" not in first["figure2.svg"] and b"<dc:date>" not in first["figure2.svg"]


def refusal(folder, tmp_path):
    done = command(str(folder), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    return done.stderr


def test_missing_tables_are_one_line_with_the_remedy(tmp_path):
    (write(tmp_path / "quick") / "steps.parquet").unlink()
    for name, missing in (("quick", "steps.parquet"), ("paper", "protocol.json")):
        said = refusal(name, tmp_path)
        assert (
            f"{name}/{missing} is missing" in said and f"make reproduce PROTOCOL={name}\n" in said
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"figure_runs.csv": lambda t: t[:0]}, "figure_runs.csv names no figure"),
        (
            {"figure_runs.csv": lambda t: t.assign(figure=10)},
            "names figure 10, only 2, 3, 4, 5, 6, 7, 8, 9, corridor_meter can be drawn",
        ),
        (
            {"epochs.parquet": lambda t: t[t["run_id"] != "6402"]},
            "epochs.parquet lacks finished run 6402 of runs.csv",
        ),
    ],
)
def test_tables_that_do_not_suffice_are_a_user_error(tmp_path, change, message):
    write(tmp_path)
    for name, edit in change.items():
        path = tmp_path / name
        if path.suffix == ".csv":
            edit(pd.read_csv(path, dtype={"run_id": str})).to_csv(path, index=False)
        else:
            edit(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(figures.UserError) as error:
        figures.draw_all(tmp_path)
    assert message in str(error.value)


def test_a_picture_carries_its_title_and_caption(tmp_path):
    png, *_ = figures.style.save(drawing(write(tmp_path / "quick"), 2), tmp_path / "two")
    with Image.open(png) as picture:
        assert picture.text["Title"] == "CLR against the best fixed learning rate"
        facts, notes = picture.text["Description"].split("\n")
    assert facts.startswith("CIFAR-10, 5,000 images · ResNet-18") and notes.endswith(
        "the first seed of a curve diverged."
    )
