"""What goes to W&B after the runs: the figures and the verdicts, offline here."""

import json
import os
import subprocess
import sys

import pytest
import report_folder
from figure_tables import ROOT


def door(*args):
    command = [sys.executable, str(ROOT / "scripts" / "publish.py"), *map(str, args)]
    return subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


def test_figures_and_verdicts_make_a_run_beside_the_others(tmp_path):
    folder = report_folder.write(tmp_path / "quick")
    done = door(folder, f"store={tmp_path / 'runs'}")
    drawn = sorted(path.read_bytes() for path in (folder / "figures").glob("*.png"))
    said = f"{len(drawn)} figures and 3 verdicts: W&B is offline, its run is report-quick\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr
    (run,) = (tmp_path / "runs" / "report-quick").glob("wandb/offline-run-*")
    assert list(run.glob("*.wandb"))
    media = run / "files" / "media"
    pictures = sorted(path.read_bytes() for path in media.glob("images/figures/*.png"))
    assert pictures == drawn
    (table,) = media.glob("table/verdicts*.json")
    table = json.loads(table.read_text())
    assert table["columns"][0] == "claim" and len(table["data"]) == 3
    assert [row[table["columns"].index("verdict")] for row in table["data"]] == [
        claim["verdict"] for claim in report_folder.CLAIMS
    ]


def test_nothing_is_written_where_wandb_is_off(tmp_path):
    folder = report_folder.write(tmp_path / "quick")
    done = door(folder, f"store={tmp_path / 'runs'}", "wandb.mode=disabled")
    assert done.returncode == 0 and not list((tmp_path / "runs").rglob("*.wandb"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["wandb.mode=online"], "the first argument is a folder of results"),
        (["quick", "wandb.modus=online"], "wandb.modus"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path, arguments, told):
    folder = report_folder.write(tmp_path / "quick")
    done = door(*(folder if argument == "quick" else argument for argument in arguments))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (
        2,
        "",
        1,
    ) and told in done.stderr
