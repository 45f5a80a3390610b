"""Sweeps in real processes: killed workers, failures, interruptions, multiruns."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from entry_points import ROOT, Train
from small_sweeps import Folders, compose_train, run, start

from clr.errors import UserError
from clr.runs.store import Store
from clr.sweeps.run_sweep import run_multirun
from hydra_plugins.clr_launchers import SubmititLocal, WorkersLauncher

pytestmark = pytest.mark.slow


def count_finished(folder):
    """Number of processes that report in the run's log that they completed it."""
    log = (folder / "log.txt").read_text()
    return len(re.findall(r"^finished: \d+ steps$", log, re.MULTILINE))


def worker_processes(sweep):
    children = subprocess.run(
        ["pgrep", "-P", str(sweep.pid)], capture_output=True, text=True
    ).stdout.split()
    return [int(pid) for pid in children if "spawn_main" in command_line(pid)]


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def kill_workers_at_random(sweeps, store, kills):
    """Kill a worker of one of the sweeps now and then, until the sweeps end."""
    rng, killed = random.Random(0), 0
    while any(sweep.poll() is None for sweep in sweeps):
        time.sleep(rng.uniform(0.2, 2))
        training = list(store.glob("*/progress.json"))
        workers = [pid for sweep in sweeps for pid in worker_processes(sweep)]
        if training and workers and killed < kills:
            os.kill(rng.choice(workers), signal.SIGKILL)
            killed += 1
    return killed


def test_two_sweeps_whose_workers_are_killed_train_each_run_once(folders):
    arguments = folders.sweep_arguments(
        "train.epochs=4", "train.checkpoint.seconds=0.2", "hydra.launcher.retries=5"
    )
    sweeps = [start("sweep.py", *arguments) for _ in range(2)]
    store = Path(folders.store)
    killed = kill_workers_at_random(sweeps, store, kills=2)
    outputs = [sweep.communicate()[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], outputs
    assert killed == 2
    results = sorted(store.glob("*/run.json"))
    assert len(results) == 3
    for result in results:
        folder = result.parent
        assert count_finished(folder) == 1, (folder / "log.txt").read_text()
        assert pd.read_parquet(folder / "steps.parquet")["step"].tolist() == list(range(1, 17))
        assert not (folder / "lock").exists()
        assert not (folder / "checkpoints").exists()
    assert len(pd.read_csv(f"{folders.results}/quick/runs.csv")) == 3


def test_an_interrupted_sweep_keeps_the_committed_tables(folders, tmp_path):
    """Ctrl-C during the first runs of `sweep.py protocol=quick figure=2`."""
    committed = ROOT / "results" / "quick"
    copy = Path(folders.results) / "quick"
    shutil.copytree(committed, copy, ignore=shutil.ignore_patterns("figures", "comparison"))
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    sweep = start(
        "sweep.py",
        *("protocol=quick", "figure=2", f"results={folders.results}", f"store={folders.store}"),
        *("train.loader=torch", "train.workers=0", "train.wandb.mode=disabled"),
        *("train.device=cpu", f"train.data_dir={tmp_path / 'data'}"),
    )
    deadline = time.monotonic() + 200
    while not list(Path(folders.store).glob("*/progress.json")):
        assert sweep.poll() is None, sweep.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate(timeout=200)
    assert sweep.returncode == 130, output
    assert "keep the runs that they had" in output
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


@pytest.fixture(scope="module")
def failing_multirun(digits, tmp_path_factory):
    """One run finishes, one kills its process, one has a bug, one a batch that is too large."""
    tmp_path = tmp_path_factory.mktemp("failing")
    folders = Folders(digits, str(tmp_path / "runs"), "")
    batch_sizes = {
        "torch.optim.SGD": 50,
        "crashing.KillsItsProcess": 50,
        "crashing.Raises": 50,
        "torch.optim.Adagrad": 5000,
    }
    composed = [
        compose_train(
            *folders.train_arguments(),
            *("epochs=1", "optimizer=sgd", f"optimizer._target_={target}", f"batch_size={size}"),
        )
        for target, size in batch_sizes.items()
    ]
    return composed, folders


def test_failures_are_reported_and_do_not_stop_other_runs(failing_multirun, capsys, monkeypatch):
    composed, folders = failing_multirun
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run_multirun(composed, WorkersLauncher(n_jobs=2, retries=1)) == 3
    output = capsys.readouterr().out
    logs = {
        Store(folders.store).stored_config(path.parent.name).optimizer["_target_"]: path
        for path in Path(folders.store).glob("*/log.txt")
    }
    attempts = {target: log.read_text().count(" process ") for target, log in logs.items()}
    # A failure that may be the machine's is retried once, a mistake of the user is not.
    assert attempts == {
        "torch.optim.SGD": 1,
        "crashing.KillsItsProcess": 2,
        "crashing.Raises": 2,
        "torch.optim.Adagrad": 1,
    }
    for target, log in logs.items():
        is_finished = target == "torch.optim.SGD"
        assert (log.parent / "run.json").exists() == is_finished
        assert (f"{log.parent.name} failed: " in output) != is_finished
    assert "failed runs: 3" in output
    assert "its process died without reporting an error" in output
    assert "    | ZeroDivisionError: an optimizer's bug" in output
    assert "Traceback" not in output.split("failed runs")[1]
    # The command in the report names the failing run.
    (command,) = re.findall(r"run it alone: (.*crashing.Raises.*)", output)
    alone = Train(command.split()[2:], Path(folders.store).parent / "log")
    assert alone.wait() == 1
    assert "an optimizer's bug" in alone.output()
    assert len(list(Path(folders.store).iterdir())) == 4


def test_a_multirun_of_the_command_line_shares_the_store_with_single_runs(folders, tmp_path):
    before = set(ROOT.iterdir())
    arguments = [*folders.train_arguments(), "epochs=1"]
    status, output = run("train.py", "-m", "seed=0,1", *arguments)
    assert status == 0, output
    assert "2 runs, 0 completed before" in output
    assert set(ROOT.iterdir()) == before
    store = Path(folders.store)
    others = [path.name for path in store.iterdir() if not path.name.startswith("digits")]
    assert others == [".multirun"]
    single = Train([*arguments, "seed=1"], tmp_path / "log")
    assert single.wait() == 0
    logs = [path.read_text() for path in store.glob("*/log.txt")]
    assert len({re.findall(r"process (\d+)", log)[0] for log in logs}) == 1  # one warm worker
    assert [count_finished(folder) for folder in store.glob("digits*")] == [1, 1]


def test_a_launcher_of_another_package_trains_the_runs_of_a_multirun(folders):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    status, output = run("train.py", "-m", "seed=0,1", *launcher, *folders.train_arguments())
    assert status == 0, output
    assert output.count("finished: ") == 2


def test_a_multirun_with_two_stores_is_a_mistake(folders):
    arguments = folders.train_arguments()
    composed = [
        compose_train(*arguments[:-1], f"store={store}", "epochs=1") for store in ("a", "b")
    ]
    with pytest.raises(UserError, match="store=a,b: a multirun has one store"):
        run_multirun(composed, WorkersLauncher(n_jobs=1, retries=0))


def test_a_job_of_submitit_on_this_host_trains_with_two_ranks(folders, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    composed = compose_train(*folders.train_arguments(), "epochs=1")
    parameters = {"timeout_min": 10, "tasks_per_node": 2, "gpus_per_node": 0}
    assert run_multirun([composed], SubmititLocal(n_jobs=1, retries=0, **parameters)) == 0
    (folder,) = Path(folders.store).glob("digits*")
    assert json.loads((folder / "run.json").read_text())["division"]["ranks"] == 2
    assert (folder / "log.1.txt").exists()
    assert count_finished(folder) == 1
