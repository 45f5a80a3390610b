"""scripts/publish.py: figures and verdicts as a W&B run, offline here."""

import json
import os
import subprocess
import sys

import pytest
import report_folder
from claim_tables import call
from figure_tables import ROOT

from clr.analysis.publish import publish_results
from clr.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    return report_folder.write(tmp_path / "quick")


def strict(text):
    """The JSON of `text`, which must not contain NaN or Infinity."""

    def reject(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=reject)


def test_figures_and_verdicts_become_a_run_of_their_own(tmp_path, folder):
    command = [sys.executable, ROOT / "scripts" / "publish.py", folder]
    done = subprocess.run(
        [*command, f"store={tmp_path / 'runs'}", "wandb.mode=offline"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    drawn = sorted(path.read_bytes() for path in (folder / "figures").glob("*.png"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"{len(drawn)} figures and 3 verdicts: W&B is offline, run report-quick\n"
    )
    (offline,) = (tmp_path / "runs" / "report-quick").glob("wandb/offline-run-*")
    assert list(offline.glob("*.wandb"))
    media = offline / "files" / "media"
    assert sorted(path.read_bytes() for path in media.glob("images/figures/*.png")) == drawn
    (path,) = media.glob("table/verdicts*.json")
    table = strict(path.read_text())
    assert table["columns"][0] == "claim"
    published = [row[table["columns"].index("verdict")] for row in table["data"]]
    assert published == [claim["verdict"] for claim in report_folder.CLAIMS]


def test_nothing_is_written_if_wandb_is_disabled(tmp_path, folder):
    published = publish_results(folder, [f"store={tmp_path / 'runs'}", "wandb.mode=disabled"])
    assert published.mode == "disabled"
    assert not (tmp_path / "runs").exists()


def test_a_wrong_call_is_one_line_with_exit_code_2(folder, capsys):
    assert call("publish", folder, "wandb.modus=online") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "modus" in captured.err


@pytest.mark.parametrize(
    "override", ["wandb.modus=online", "wandb.mode=sometimes", "wandb=online", "=3", "wandb.mode"]
)
def test_a_wrong_override_is_a_users_mistake(folder, override):
    with pytest.raises(UserError):
        publish_results(folder, [override])


def test_help_names_the_arguments_and_an_example(capsys):
    assert call("publish", "--help") == 0
    printed = capsys.readouterr().out
    assert "KEY=VALUE" in printed
    assert "example: python scripts/publish.py results/cpu wandb.mode=online" in printed


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_anything_but_a_folder_is_reported(tmp_path, kind):
    path = tmp_path / "quick"
    if kind == "file":
        path.write_text("")
    with pytest.raises(UserError, match="; pass a folder with results, such as results/quick"):
        publish_results(path, [])


@pytest.mark.parametrize(
    ("name", "target"),
    [("runs.jsonl", "reproduce"), ("claims.csv", "claims")],
)
@pytest.mark.parametrize("content", [None, b"", b"\x93\xff\x00"])
def test_a_missing_or_damaged_file_is_named_with_the_command(folder, name, target, content):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} .*make {target} PROTOCOL=quick"):
        publish_results(folder, ["wandb.mode=disabled"])


def test_an_unknown_verdict_is_named(folder):
    path = folder / "claims.csv"
    path.write_text(path.read_text().replace("not tested at this scale", "perhaps"))
    with pytest.raises(UserError, match="verdict 'perhaps', which is not one of: reproduced, not"):
        publish_results(folder, ["wandb.mode=disabled"])


def test_a_folder_without_figures_is_reported_with_the_command(folder):
    for path in (folder / "figures").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no figure; draw them with: make figures PROTOCOL=quick"):
        publish_results(folder, ["wandb.mode=disabled"])


def test_records_with_nan_from_older_versions_are_read(folder):
    path = folder / "runs.jsonl"
    lines = path.read_text().splitlines()
    record = json.loads(lines[-1])
    record["summary"]["final_train_loss"] = float("nan")
    path.write_text("\n".join([*lines[:-1], json.dumps(record)]) + "\n")
    assert publish_results(folder, ["wandb.mode=disabled"]).verdicts == 3
