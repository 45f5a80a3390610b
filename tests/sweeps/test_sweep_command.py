"""sweep.py: its command line, and dry runs, which change nothing."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from entry_points import ROOT
from small_sweeps import compose_train, composed_sweep, run

from clr.errors import UserError
from clr.runs.tables import read_records
from clr.sweeps.config import checked_sweep
from clr.sweeps.run_sweep import run_multirun, run_sweep
from hydra_plugins.clr_launchers import SubmititLocal, WorkersLauncher
from sweep import arguments


@pytest.mark.parametrize(
    ("given", "translated"),
    [
        (["figure=2,corridor_meter"], ["figure=[2,corridor_meter]", "train=[]"]),
        (["--dry-run"], ["dry_run=true", "train=[]"]),
        (["train.dataset.path=/a b"], ["train=['dataset.path=/a b']"]),
        (["train.seed=1", "train.epochs=2"], ["train=['seed=1','epochs=2']"]),
        (["+train.optimizer.momentum=0.9"], ["train=['+optimizer.momentum=0.9']"]),
        (["~train.optimizer.max_lr"], ["train=['~optimizer.max_lr']"]),
        (["train.dataset.title=it's"], [r"train=['dataset.title=it\'s']"]),
        (["train=[seed=1]"], ["train=[seed=1]"]),
    ],
)
def test_the_command_line_is_translated_for_hydra(given, translated):
    assert arguments(given) == translated


@pytest.mark.slow
def test_help_and_wrong_words_are_answered_without_a_traceback():
    status, output = run("sweep.py", "--help")
    assert status == 0
    assert "--dry-run" in output
    assert "train.KEY=VALUE" in output
    status, output = run("sweep.py", "figur=2")
    assert status == 2
    assert len(output.strip().splitlines()) == 1
    status, output = run("sweep.py", "-m", "figure=2")
    assert status == 2
    assert output.strip().splitlines()[-1].startswith("sweep.py: sweep.py has no --multirun")


def dry_run(capsys, *command_line):
    with composed_sweep(*command_line, "--dry-run") as composed:
        assert run_sweep(composed, WorkersLauncher(n_jobs=1, retries=0)) == 0
    return capsys.readouterr().out


def test_a_dry_run_neither_converts_nor_writes(folders, tmp_path, capsys):
    fresh = replace(folders, data=str(tmp_path / "data"))
    output = dry_run(capsys, *fresh.sweep_arguments("train.epochs=1"))
    assert "3 runs: 0 done, 0 interrupted, 3 to do" in output
    assert "digits is not converted yet" in output
    assert "digits-resnet18-b50-sgd0.1-s0-…" in output
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_does_not_download(tmp_path, capsys):
    output = dry_run(
        capsys,
        *("protocol=cpu", "figure=5", "train.loader=torch", f"store={tmp_path / 'runs'}"),
        *(f"paths.cifar10={tmp_path / 'cifar'}", f"train.data_dir={tmp_path / 'data'}"),
    )
    assert "cifar10-500 is not converted yet" in output
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_does_not_import(folders, tmp_path, capsys):
    command_line = [*folders.sweep_arguments(), "import_results=true", "results=results"]
    output = dry_run(capsys, *command_line)
    committed = len(read_records(ROOT / "results" / "quick"))
    assert f"{committed} runs would be imported from results/quick" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_dry_run_counts_runs_and_estimates_the_time_left(folders, capsys):
    composed = [compose_train(*folders.train_arguments(), "epochs=1")]
    assert run_multirun(composed, WorkersLauncher(n_jobs=1, retries=0)) == 0
    command_line = folders.sweep_arguments("train.epochs=1")
    capsys.readouterr()
    output = dry_run(capsys, *command_line)
    assert "3 runs: 1 done, 0 interrupted, 2 to do" in output
    assert re.search(r"about \d+:\d\d:\d\d of training left", output)
    # With the corridor meter in the plan, the run without its measurements is still to do.
    measured = dry_run(capsys, *command_line, "protocol.tasks.cifar10.corridor_meter_every=3")
    assert "3 runs: 0 done, 0 interrupted, 3 to do" in measured
    (result,) = Path(folders.store).glob("*/run.json")
    result.unlink()
    # A run that cannot be resumed, such as that of a job that SLURM refused, is not interrupted.
    assert "3 runs: 0 done, 0 interrupted, 3 to do" in dry_run(capsys, *command_line)
    checkpoint = result.parent / "checkpoints" / "step-000000001.pt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    output = dry_run(capsys, *command_line)
    assert "3 runs: 0 done, 1 interrupted, 2 to do" in output
    assert "3 runs without an estimate" in output


@pytest.mark.slow
def test_a_sweep_under_torchrun_is_a_mistake():
    status, output = run("sweep.py", environment={"WORLD_SIZE": "2", "RANK": "0"})
    assert status == 2
    assert "call it without torchrun" in output


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol.name=../x", "protocol.name=../x must not contain /"),
        ("store=''", "store is empty"),
        ("results=''", "results is empty"),
        ("results='~nobody-here/x'", "names an unknown user"),
        ("optimizers=clr", "optimizers is not a list; write it in brackets"),
        ("store=null", "store is not accepted; the key needs a value"),
        ("optimizers=[../optimizer/clr]", "is unknown; configs/optimizer has "),
    ],
)
def test_a_wrong_value_is_named_with_its_key(override, message, capsys):
    with pytest.raises(UserError) as caught:
        dry_run(capsys, override)
    assert message in str(caught.value)


def test_a_tilde_is_expanded_once_for_the_sweep_and_its_runs(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    with composed_sweep("store='~/runs'", "results='~/results'") as composed:
        sweep = checked_sweep(composed)
    assert sweep.store == "/home/me/runs"
    assert sweep.results == "/home/me/results"


@pytest.mark.parametrize("argument", ["train.=3", "train.optimizer=null"])
@pytest.mark.slow
def test_a_mistake_in_the_runs_overrides_is_one_line(argument, folders):
    status, output = run("sweep.py", *folders.sweep_arguments(argument), "--dry-run")
    assert status == 2
    (line,) = output.strip().splitlines()
    assert line.startswith(f"sweep.py: {argument.removeprefix('train.')}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_jobs": "abc", "retries": 1}, "n_jobs=abc is not a whole number"),
        ({"n_jobs": 0, "retries": 1}, "n_jobs=0 is too small"),
        ({"n_jobs": 1, "retries": None}, "retries=None is not a whole number"),
        ({"n_jobs": 1, "retries": -1}, "retries=-1 is too small"),
    ],
)
@pytest.mark.parametrize("launcher", [WorkersLauncher, SubmititLocal])
def test_wrong_settings_of_a_launcher_are_named(launcher, arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        launcher(**arguments).backend(str(tmp_path), [])
