"""Runs and sweeps on a real SLURM of two nodes on this host, which `make slurm-test` installs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from entry_points import PLAIN, ROOT, TINY, ranks
from slurm_cluster import Cluster, idle, wait_for

from clr.errors import CONTINUE

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        os.getuid() != 0 or not shutil.which("slurmctld"), reason="call make slurm-test as root"
    ),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    found = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        wait_for(lambda: idle(found.environment) == 2, 60, found)
        yield found
    finally:
        found.stop()


@pytest.fixture
def slurm(cluster):
    return cluster.environment


def srun(environment, tmp, *args):
    command = [
        "srun",
        "-N2",
        "-n2",
        sys.executable,
        "train.py",
        *TINY,
        *PLAIN,
        f"data_dir={tmp / 'data'}",
        *args,
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def records(store):
    (folder,) = store.iterdir()
    return pd.read_parquet(folder / "steps.parquet").drop(columns="seconds")


def test_a_step_of_two_nodes_is_one_run_that_a_signal_stops_and_the_same_command_continues(
    slurm, tmp_path, free_port
):
    local = ranks(
        2,
        free_port,
        [
            *TINY,
            *PLAIN,
            f"data_dir={tmp_path / 'data'}",
            f"store={tmp_path / 'local'}",
            "epochs=15",
        ],
        tmp_path / "log",
    )
    assert [rank.wait() for rank in local] == [0, 0], [rank.output() for rank in local]

    args = [f"store={tmp_path / 'runs'}", "epochs=15", "checkpoint.seconds=1"]
    run = srun(slurm, tmp_path, *args)
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("runs/*/checkpoints/step-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    job = subprocess.run(
        ["squeue", "-h", "-o", "%i"], env=slurm, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(["scancel", "--signal=USR2", job], env=slurm, check=True)
    output, _ = run.communicate(timeout=100)
    assert run.returncode == CONTINUE, output
    assert "stopped after step" in output
    assert 0 < len(records(tmp_path / "runs")) < 60

    again = srun(slurm, tmp_path, *args)
    output, _ = again.communicate(timeout=200)
    assert again.returncode == 0, output
    assert output.count("finished: 60 steps") == 1, output
    pd.testing.assert_frame_equal(
        records(tmp_path / "runs"), records(tmp_path / "local"), check_exact=True
    )


def sweep(tmp, store, *args):
    return [
        sys.executable,
        "sweep.py",
        "protocol=quick",
        "figure=2",
        "protocol.seeds=[0,1]",
        "protocol.tasks.cifar10.batch_size=50",
        "protocol.tasks.cifar10.learning_rates=[0.01,0.1]",
        "protocol.tasks.cifar10.corridor_meter_every=null",
        "train.dataset.train_samples=200",
        "train.dataset.test_samples=100",
        "train.epochs=12",
        "train.checkpoint.seconds=1",
        *(f"train.{p}" for p in PLAIN),
        f"train.data_dir={tmp / 'data'}",
        f"store={tmp / store}",
        f"results={tmp / store}-results",
        *args,
    ]


ON_SLURM = [
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.poll_seconds=1",
    "hydra.launcher.timeout_min=30",
]


def start(cluster, command):
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def same_records(one, other):
    names = sorted(p.parent.name for p in one.glob("*/run.json"))
    assert names
    assert names == sorted(p.parent.name for p in other.glob("*/run.json"))
    for name in names:
        for table in ("steps", "epochs"):
            tables = [
                pd.read_parquet(store / name / f"{table}.parquet").drop(columns="seconds")
                for store in (one, other)
            ]
            pd.testing.assert_frame_equal(*tables, check_exact=True)
    return names


def disturb(cluster, runs):
    """Requeue one job, stop another as if its time were up, and crash a node; the stopped run."""
    # One job is requeued during its run, one stops because its time is up, and a node crashes.
    checkpoint = wait_for(lambda: list(runs.glob("digits*/checkpoints/step-*.pt")), 100, cluster)[0]
    requeued = checkpoint.parent.parent
    job = json.loads((requeued / "job.json").read_text())["job"]
    cluster.ask("scontrol", "requeue", job)
    timed_out = wait_for(
        lambda: [
            p for p in runs.glob("digits*/checkpoints/step-*.pt") if p.parent.parent != requeued
        ],
        100,
        cluster,
    )[0].parent.parent
    # The signal that SLURM sends when the time is nearly up; scancel might send it twice.
    os.kill(
        int(re.findall(r"process (\d+)", (timed_out / "log.txt").read_text())[-1]), signal.SIGUSR2
    )
    wait_for(lambda: (timed_out / "log.txt").read_text().count(" process ") == 2, 100, cluster)
    wait_for(lambda: cluster.ask("squeue", "-h", "-t", "R", "-w", "n2"), 100, cluster)
    died = cluster.crash_node("n2")
    assert died
    time.sleep(3)
    cluster.start_node("n2")
    return timed_out


def test_a_sweep_on_slurm_survives_requeues_and_a_dead_node_and_equals_a_local_one(
    cluster, tmp_path
):
    local = start(cluster, sweep(tmp_path, "local"))
    output, _ = local.communicate(timeout=400)
    assert local.returncode == 0, output

    runs = tmp_path / "runs"
    command = sweep(tmp_path, "runs", *ON_SLURM, "hydra.launcher.slurm_array_parallelism=3")
    first = start(cluster, command)
    # An array of six jobs, of which three run at once
    wait_for(lambda: cluster.ask("squeue", "-h", "-r", "-t", "R").count("\n") == 3, 200, cluster)
    assert cluster.ask("squeue", "-h", "-r").count("\n") == 6

    # Stopping the first sweep leaves its jobs in the queue, where a second sweep finds them.
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == CONTINUE, output
    assert "runs are left" in output
    second = start(cluster, command)

    timed_out = disturb(cluster, runs)
    output, _ = second.communicate(timeout=400)
    assert second.returncode == 0, output + (cluster.tmp / "ctld.log").read_text()[-3000:]
    names = same_records(tmp_path / "local", runs)
    assert len(names) == 6
    for name in names:
        log = (runs / name / "log.txt").read_text()
        assert len(re.findall(r"^finished: 48 steps$", log, re.MULTILINE)) == 1
    assert "stopped after step" in (timed_out / "log.txt").read_text()
    # No job was submitted in addition to the array's six: SLURM itself requeued them.
    jobs = [json.loads(p.read_text())["job"] for p in runs.glob("digits*/job.json")]
    assert len({job.split("_")[0] for job in jobs}) == 1

    third = start(cluster, command)
    output, _ = third.communicate(timeout=100)
    assert third.returncode == 0, output
    assert "6 runs, 6 completed before" in output


def test_the_launcher_trains_a_run_on_two_nodes(cluster, tmp_path, free_port):
    wait_for(lambda: idle(cluster.environment) == 2, 60, cluster)
    args = [*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}"]
    local = ranks(2, free_port, [*args, f"store={tmp_path / 'local'}"], tmp_path / "log")
    assert [rank.wait() for rank in local] == [0, 0], [rank.output() for rank in local]
    command = [
        sys.executable,
        "train.py",
        "-m",
        *args,
        f"store={tmp_path / 'runs'}",
        *ON_SLURM,
        "hydra.launcher.nodes=2",
    ]
    run = start(cluster, command)
    output, _ = run.communicate(timeout=200)
    assert run.returncode == 0, output
    (name,) = same_records(tmp_path / "local", tmp_path / "runs")
    assert json.loads((tmp_path / "runs" / name / "run.json").read_text())["division"]["ranks"] == 2


def test_a_job_that_the_user_cancels_is_not_submitted_again(cluster, tmp_path):
    args = [
        *TINY,
        *PLAIN,
        f"data_dir={tmp_path / 'data'}",
        f"store={tmp_path / 'runs'}",
        "epochs=2000",
    ]
    sweep = start(cluster, [sys.executable, "train.py", "-m", *args, *ON_SLURM])
    (progress,) = wait_for(lambda: list(tmp_path.glob("runs/digits*/progress.json")), 100, cluster)
    cluster.ask("scancel", json.loads((progress.parent / "job.json").read_text())["job"])
    output, _ = sweep.communicate(timeout=100)
    assert sweep.returncode == 1, output
    assert "SLURM ended its job: CANCELLED" in output
    assert not cluster.ask("squeue", "-h")


def test_a_wrong_parameter_is_one_line(cluster, tmp_path):
    args = [*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"]
    run = start(
        cluster,
        [sys.executable, "train.py", "-m", *args, *ON_SLURM, "hydra.launcher.slurm_partition=nope"],
    )
    output, _ = run.communicate(timeout=100)
    assert run.returncode == 2, output
    assert "partition" in output.splitlines()[-1]
    assert "Traceback" not in output
