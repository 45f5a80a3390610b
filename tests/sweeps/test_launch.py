"""Sweeps by many processes: warm workers that die, two sweeps at once, failures, locks, Hydra's multirun."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from entry_points import PLAIN, ROOT, TINY, Train

from clr.config import load
from clr.data import prepare
from clr.errors import CONTINUE, Busy
from clr.runs import store as store_module
from clr.runs.store import Store, run_id
from clr.training.trainer import train

ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def start(*args):
    return subprocess.Popen(
        [sys.executable, *map(str, args)],
        cwd=ROOT,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def door(*args):
    process = start(*args)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def sweep(tmp, *args):
    """Six runs of eight steps or so: three optimizers, two seeds."""
    return [
        "sweep.py",
        "figure=2",
        "protocol.seeds=[0,1]",
        "protocol.tasks.cifar10.batch_size=50",
        "protocol.tasks.cifar10.learning_rates=[0.01,0.1]",
        "train.dataset.train_samples=200",
        "train.dataset.test_samples=100",
        *(f"train.{p}" for p in PLAIN),
        f"train.data_dir={tmp / 'data'}",
        f"store={tmp / 'runs'}",
        f"results={tmp / 'results'}",
        *args,
    ]


def finishes(folder):
    """How often a process says that it finished the run."""
    return len(re.findall(r"^finished: \d+ steps$", (folder / "log.txt").read_text(), re.MULTILINE))


def children(pid):
    return [
        int(p)
        for p in subprocess.run(
            ["pgrep", "-P", str(pid)], capture_output=True, text=True
        ).stdout.split()
    ]


def test_two_sweeps_at_once_whose_workers_are_killed_at_random_make_each_run_once(tmp_path):
    args = sweep(
        tmp_path, "train.epochs=6", "train.checkpoint.seconds=0.2", "hydra.launcher.retries=5"
    )
    prepare(
        load(["dataset.train_samples=200", "dataset.test_samples=100"]).dataset,
        str(tmp_path / "data"),
        "torch",
    )
    sweeps = [start(*args) for _ in range(2)]
    rng, killed = random.Random(0), 0
    while any(s.poll() is None for s in sweeps):
        time.sleep(rng.uniform(0.5, 3))
        logs = [log for log in tmp_path.glob("runs/*/progress.json") if log.exists()]
        workers = [
            pid for s in sweeps for pid in children(s.pid) if "spawn_main" in command_of(pid)
        ]
        if logs and workers and killed < 4:
            os.kill(rng.choice(workers), signal.SIGKILL)
            killed += 1
    output = [s.communicate()[0] for s in sweeps]
    assert [s.returncode for s in sweeps] == [0, 0], output
    assert killed == 4
    runs = sorted(tmp_path.glob("runs/*/run.json"))
    assert len(runs) == 6
    for run in runs:
        assert finishes(run.parent) == 1, (run.parent / "log.txt").read_text()
        assert pd.read_parquet(run.parent / "steps.parquet")["step"].tolist() == list(range(1, 25))
        assert not (run.parent / "lock").exists() and not (run.parent / "checkpoints").exists()
    assert len(pd.read_csv(tmp_path / "results" / "quick" / "runs.csv")) == 6


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_failures_are_told_and_stop_nothing_else(tmp_path):
    """One run is made, one's process dies at each try, one meets a bug, one is a mistake."""
    args = [*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"]
    targets = "torch.optim.SGD,faulty.Kills,faulty.Breaks"
    status, output = door(
        "train.py",
        "-m",
        "optimizer=sgd",
        f"optimizer._target_={targets}",
        "optimizer.lr=0.1,-1",
        "hydra.launcher.n_jobs=2",
        *args,
    )
    assert (
        status == 1
        and "Traceback (most recent call last):\n  File" not in output.split("failed runs")[1]
    ), output
    assert "failed runs: 5" in output and "5 of 6 runs failed" in output
    tried = {}
    for folder in (tmp_path / "runs").glob("digits*"):
        optimizer = load_yaml(folder / "config.yaml")["optimizer"]
        tried[optimizer["_target_"], optimizer["lr"]] = (
            (folder / "log.txt").read_text().count(" process ")
        )
        finished = optimizer["_target_"] == "torch.optim.SGD" and optimizer["lr"] > 0
        assert (folder / "run.json").exists() == finished
        told = f"{folder.name} failed: "
        assert (told in output) != finished
    # Twice in vain for what may have been the machine's fault, once for what was the user's
    assert tried == {
        ("torch.optim.SGD", 0.1): 1,
        ("torch.optim.SGD", -1): 1,
        ("faulty.Kills", 0.1): 2,
        ("faulty.Kills", -1): 1,
        ("faulty.Breaks", 0.1): 2,
        ("faulty.Breaks", -1): 1,
    }
    assert (
        "gone without a word" in output and "    | ZeroDivisionError: a bug of somebody's" in output
    )

    # The command in the report is the run.
    (name,) = re.findall(r"^(\S+) failed: a bug", output, re.MULTILINE)
    (command,) = (
        c for c in re.findall(r"alone: (.*_target_=faulty.Breaks.*)", output) if "lr=-1" not in c
    )
    alone = subprocess.run(
        command.replace(".venv/bin/python", sys.executable),
        shell=True,
        cwd=ROOT,
        env=ENV,
        capture_output=True,
        text=True,
    )
    assert alone.returncode == 1 and "a bug of somebody's" in alone.stderr
    assert (
        name in {folder.name for folder in (tmp_path / "runs").iterdir()}
        and len(list((tmp_path / "runs").iterdir())) == 7
    )


def load_yaml(path):
    import yaml

    return yaml.safe_load(path.read_text())


def test_a_multirun_shares_the_store_and_leaves_nothing_beside_it(tmp_path):
    args = [*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"]
    before = set(ROOT.iterdir())
    status, output = door("train.py", "-m", "optimizer=clr,sgd", "seed=0,1", *args)
    assert status == 0 and "4 runs, 0 finished before" in output, output
    assert set(ROOT.iterdir()) == before
    assert sorted(
        p.name for p in (tmp_path / "runs").iterdir() if not p.name.startswith("digits")
    ) == [".multirun"]
    # One run alone, and a sweep, see the same store.
    one = Train([*args, "optimizer=sgd", "seed=1"], tmp_path / "log")
    assert one.wait() == 0
    pids = {
        re.findall(r"process (\d+)", log.read_text())[0] for log in tmp_path.glob("runs/*/log.txt")
    }
    assert len(pids) == 1  # one warm worker made them all
    assert all(finishes(folder) == 1 for folder in tmp_path.glob("runs/digits*"))
    status, output = door(
        "train.py", "-m", "store=a,b", *TINY, *PLAIN, f"data_dir={tmp_path / 'data'}"
    )
    assert status == 2 and output.strip().splitlines()[-1].startswith(
        "train.py: one multirun has one store"
    )


def test_dry_run_shows_the_runs_and_makes_none(tmp_path):
    args = sweep(tmp_path, "train.epochs=2")
    status, output = door(*args, "--dry-run")
    assert (
        status == 0
        and output.count("to do") == 6 + 1
        and "nothing like 6 of them was made yet" in output
    )
    assert not (tmp_path / "runs").exists() and not (tmp_path / "results").exists()
    assert door(*args)[0] == 0
    broken = next((tmp_path / "runs").glob("*clr-s0*"))
    (broken / "run.json").unlink()
    status, output = door(*args, "--dry-run")
    assert status == 0 and "6 runs: 5 done, 1 broken, 0 to do" in output, output
    assert re.search(r"about \d+:\d\d:\d\d of training is left", output)


@pytest.fixture
def run(tmp_path):
    cfg = load([*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"])
    info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
    return cfg, info, Store(cfg.store), run_id(cfg, info.fingerprint)


def test_a_run_that_another_process_makes_is_left_alone(run, tmp_path):
    cfg, _, store, name = run
    with store.claim(name):
        other = Train(
            [*TINY, *PLAIN, f"data_dir={cfg.data_dir}", f"store={cfg.store}"], tmp_path / "log"
        )
        assert other.wait() == CONTINUE
        assert (
            f"is being made by process {os.getpid()} on" in other.output()
            and len(other.output().splitlines()) == 1
        )
    assert [p.name for p in store.folder(name).iterdir()] == []


def test_the_lock_of_a_dead_process_is_taken_over(run):
    cfg, info, store, name = run
    child = os.fork()
    if child == 0:
        store.folder(name).mkdir(parents=True)
        lease = store.lease(name)
        lease.acquire(timeout=0)
        os._exit(0)  # without a word
    os.waitpid(child, 0)
    assert (store.folder(name) / "lock").exists()
    assert train(cfg, info)["status"] == "finished"


def test_the_lock_of_another_host_is_taken_over_when_it_is_no_longer_renewed(run, monkeypatch):
    cfg, info, store, name = run
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 2.0)
    with store.claim(name):
        record = (store.folder(name) / "lock").read_text()
    # Whether a process of another host lives, nobody can see from here.
    (store.folder(name) / "lock").write_text(
        record.replace(f"host={socket.gethostname()}", "host=elsewhere")
    )
    with pytest.raises(Busy, match="on elsewhere"):
        train(cfg, info, patience=0.5)
    assert train(cfg, info, patience=10)["status"] == "finished"


def test_a_process_that_lost_its_run_leaves_it(run, monkeypatch):
    cfg, info, store, name = run
    cfg.epochs = 2000
    name = run_id(cfg, info.fingerprint)
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 0.6)
    child = os.fork()
    if child == 0:
        while not (store.folder(name) / "progress.json").exists():
            time.sleep(0.05)
        (store.folder(name) / "lock").unlink()
        os._exit(0)
    with pytest.raises(Busy, match="taken over"):
        train(cfg, info)
    os.waitpid(child, 0)
    assert not (store.folder(name) / "run.json").exists()


def test_submitits_jobs_on_this_host_make_runs_of_two_ranks(tmp_path):
    args = [*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"]
    status, output = door(
        "train.py",
        "-m",
        "seed=0,1",
        "hydra/launcher=submitit_local",
        "hydra.launcher.tasks_per_node=2",
        *args,
    )
    assert status == 0, output
    for folder in (tmp_path / "runs").glob("digits*"):
        assert json.loads((folder / "run.json").read_text())["division"]["ranks"] == 2
        assert (folder / "log.1.txt").exists() and finishes(folder) == 1


def test_no_slurm_is_one_line(tmp_path):
    env = {**ENV, "PATH": "/nowhere"}
    args = [*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"]
    done = subprocess.run(
        [sys.executable, "train.py", "-m", "hydra/launcher=submitit_slurm", *args],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 2
        and len(done.stderr.strip().splitlines()) == 1
        and "workers" in done.stderr
    )
