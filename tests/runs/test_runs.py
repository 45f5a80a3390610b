"""One run and a sweep, through their doors, with real data, real FFCV files and W&B offline."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from entry_points import Train

from clr.config import load
from clr.runs.store import run_id
from sweep import arguments

ROOT = Path(__file__).resolve().parents[2]
TINY = ["dataset.train_samples=200", "dataset.test_samples=100", "batch_size=50", "epochs=2"]
SWEEP = [
    "protocol.seeds=[0,1]",
    "protocol.tasks.cifar10.batch_size=100",
    "protocol.tasks.cifar10.batch_sizes=[50,100]",
    "protocol.tasks.cifar10.learning_rates=[0.01,0.1]",
    "protocol.tasks.cifar10.corridor_meter_every=2",
    "train.dataset.train_samples=200",
    "train.dataset.test_samples=100",
    "train.epochs=2",
    "train.wandb.mode=disabled",
    "train.loader=torch",
    "train.workers=0",
]


without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="here it is no mistake")


def door(name, *args, env=None):
    command = [sys.executable, str(ROOT / name), *map(str, args)]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | (env or {}),
        stdin=subprocess.DEVNULL,
    )


def places(tmp, prefix=""):
    return [f"{prefix}data_dir={tmp / 'data'}", f"store={tmp / 'runs'}"]


def test_a_run_records_every_step_and_is_not_made_twice(tmp_path):
    first = door("train.py", *TINY, *places(tmp_path))
    assert first.returncode == 0, first.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    steps, epochs = (
        pd.read_parquet(folder / "steps.parquet"),
        pd.read_parquet(folder / "epochs.parquet"),
    )
    assert steps["step"].tolist() == list(range(1, 9)) and steps["samples"].tolist() == [
        50 * i for i in range(1, 9)
    ]
    assert steps["epoch"].tolist() == [0] * 4 + [1] * 4 and epochs["step"].tolist() == [4, 8]
    # The recorded rate is the one that CLR took from the recorded loss and norm.
    assert steps["learning_rate"].tolist() == pytest.approx(
        (steps["loss"] / steps["grad_norm_sq"]).tolist(), rel=1e-9
    )
    run = json.loads((folder / "run.json").read_text())
    assert run["status"] == "finished"
    assert run["summary"]["final_train_loss"] == pytest.approx(steps["loss"][4:].mean())
    assert {"revision", "hardware", "libraries"} <= set(run["provenance"]) and len(
        run["data"]["fingerprint"]
    ) == 64
    assert yaml.safe_load((folder / "config.yaml").read_text())["batch_size"] == 50
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))

    stamp = (folder / "run.json").stat().st_mtime_ns
    assert door("train.py", *TINY, *places(tmp_path)).returncode == 0
    assert (folder / "run.json").stat().st_mtime_ns == stamp

    # The same run through the other loader gives the same numbers.
    other = door(
        "train.py",
        *TINY,
        f"data_dir={tmp_path / 'data'}",
        f"store={tmp_path / 'other'}",
        "loader=torch",
        "workers=0",
        "wandb.mode=disabled",
    )
    assert other.returncode == 0, other.stderr
    again = pd.read_parquet(tmp_path / "other" / folder.name / "steps.parquet")
    pd.testing.assert_frame_equal(steps.drop(columns="seconds"), again.drop(columns="seconds"))


def test_a_rate_that_blows_up_is_a_result(tmp_path):
    args = [
        "optimizer=sgd",
        "optimizer.lr=1e30",
        "loader=torch",
        "workers=0",
        "wandb.mode=disabled",
    ]
    run = door("train.py", *TINY, *args, *places(tmp_path))
    assert run.returncode == 0 and run.stdout.startswith("diverged"), run.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    losses = pd.read_parquet(folder / "steps.parquet")["loss"]
    assert len(losses) < 8 and not pd.Series([losses.iloc[-1]]).between(-1e300, 1e300).any()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["foo=1"], "foo"),
        (["optimizer.foo=1"], "optimizer.foo"),
        (["epochs=abc"], "abc"),
        (["epochs=0"], "epochs=0"),
        (["precision=fp8"], "fp32, bf16"),
        (["optimizer=nope"], "clr"),
        (["dataset=folder", "dataset.path=/nowhere"], "/nowhere"),
        (["dataset=folder"], "dataset.path"),
        (["batch_size=5000"], "batch_size=5000"),
        pytest.param(["device=cuda"], "no GPU", marks=without_gpu),
        pytest.param(["precision=tf32"], "fp32 or bf16", marks=without_gpu),
        pytest.param(["model.norm=sync"], "batch or group", marks=without_gpu),
        (["device_batch_size=1"], "device_batch_size=1"),
        (["batch_size=127", "device_batch_size=50"], "equal parts"),
        (["store=/proc/runs"], "another store"),
        (["data_dir=/proc/data"], "data_dir"),
        (["dataset=folder", "dataset.path={tmp}/one"], "two"),
    ],
)
def test_a_users_mistake_is_one_line(args, told, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "one" / split / "cat").mkdir(parents=True)
        (tmp_path / "one" / split / "cat" / "0.png").touch()
    where = {"data_dir": tmp_path / "data", "store": tmp_path / "runs"}
    given = {arg.partition("=")[0] for arg in args}
    args = [a.format(tmp=tmp_path) for a in args] + [
        f"{k}={v}" for k, v in where.items() if k not in given
    ]
    run = Train([*args, "loader=torch", "workers=0", "wandb.mode=disabled"], tmp_path / "log")
    assert run.wait() == 2
    assert len(run.output().strip().splitlines()) == 1 and told in run.output(), run.output()


def test_identity_is_what_determines_the_numbers():
    def name(*overrides):
        return run_id(load(overrides), "f" * 64)

    base = name()
    for same in (
        "workers=3",
        "store=/x",
        "wandb.mode=disabled",
        "loader=torch",
        "device=cpu",
        "progress=false",
    ):
        assert name(same) == base
    for other in (
        "seed=1",
        "batch_size=32",
        "epochs=7",
        "optimizer.max_lr=1",
        "model.stem=cifar",
        "precision=bf16",
        "dataset.flip=true",
        "model=resnet50",
        "model.init=zero",
        "optimizer=sgd",
    ):
        assert name(other) != base
    assert run_id(load(), "e" * 64) != base


def test_sweep_killed_and_called_again_makes_each_run_once(tmp_path):
    args = [*SWEEP, *places(tmp_path), f"results={tmp_path / 'results'}"]
    args[args.index(f"data_dir={tmp_path / 'data'}")] = f"train.data_dir={tmp_path / 'data'}"
    sweep = subprocess.Popen(
        [sys.executable, str(ROOT / "sweep.py"), *args],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while (
        len(list(tmp_path.glob("runs/*/run.json"))) < 3
        and sweep.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/run.json")}
    assert 3 <= len(before) < 12

    second = door("sweep.py", *args)
    assert second.returncode == 0, second.stderr
    after = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/run.json")}
    # 2 seeds × 2 batch sizes × (CLR + 2 rates); Figures 2 and 4 share theirs with Figure 6
    assert len(after) == 12
    results = tmp_path / "results" / "quick"
    runs, steps = pd.read_csv(results / "runs.csv"), pd.read_parquet(results / "steps.parquet")
    assert (
        runs["run_id"].is_unique and set(steps["run_id"]) == set(runs["run_id"]) and len(runs) == 12
    )
    assert str(tmp_path) not in (results / "runs.jsonl").read_text()  # it will be committed
    needed = pd.read_csv(results / "figure_runs.csv").groupby("figure").size().to_dict()
    assert needed == {"2": 6, "4": 2, "6": 12, "9": 4, "corridor_meter": 6}
    # All runs at the headline batch size, at steps 1 and 3 of 4
    meter = pd.read_parquet(results / "corridor_meter.parquet")
    headline = runs[runs["batch_size"] == 100]
    assert set(meter["run_id"]) == set(headline["run_id"])
    assert meter.groupby("run_id")["step"].apply(list).tolist() == [[1, 3]] * 6
    # No finished run was trained again.
    assert all(after[path] == stamp for path, stamp in before.items())

    third = door("sweep.py", *args)
    assert "12 runs, 12 finished before" in third.stdout
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/run.json")} == after

    # What lies under results is enough to fill another store, and to draw.
    args[args.index(f"store={tmp_path / 'runs'}")] = f"store={tmp_path / 'elsewhere'}"
    fourth = door("sweep.py", *args, "import_results=true")
    assert "12 runs, 12 finished before" in fourth.stdout, fourth.stderr
    tables = list(tmp_path.glob("runs/*/*.parquet"))
    assert len(tables) == 12 * 2 + 6
    for path in tables:
        copy = tmp_path / "elsewhere" / path.parent.name / path.name
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(copy))
    assert len(list(tmp_path.glob("elsewhere/*/*.parquet"))) == len(tables)
    drawn = door("scripts/figures.py", results)
    assert drawn.returncode == 0, drawn.stderr
    for figure in ("figure2", "figure4", "figure6", "figure9", "corridor_meter"):
        assert (results / "figures" / f"{figure}.png").stat().st_size > 10_000
        assert (results / "figures" / f"{figure}.pdf").exists()


def test_arguments_of_a_sweep():
    assert arguments(["figure=2,corridor_meter", "protocol=cpu"]) == [
        "figure=[2,corridor_meter]",
        "protocol=cpu",
        "train=[]",
    ]
    assert arguments(["train.dataset.path=/a b"]) == ["train=['dataset.path=/a b']"]


def test_every_protocol_and_optimizer_composes():
    for path in (ROOT / "configs" / "optimizer").glob("*.yaml"):
        assert load([f"optimizer={path.stem}"]).optimizer["name"] == path.stem
    assert (
        load().diagnostics.every is None
        and load(["diagnostics=corridor_meter"]).diagnostics.every == 200
    )
    for path in (ROOT / "configs" / "protocol").glob("*.yaml"):
        protocol = yaml.safe_load(path.read_text())
        assert protocol["name"] == path.stem
        for task in protocol["tasks"].values():
            load([o for o in task["overrides"]])
            assert task["batch_size"] in task.get(
                "batch_sizes", [task["batch_size"]]
            )  # one without is for one size


def test_environment_yml_holds_the_pinned_requirements():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["-r requirements.txt", "-r requirements-ffcv.txt"]
    for name in ("requirements.txt", "requirements-ffcv.txt"):
        for line in (ROOT / name).read_text().splitlines():
            assert line.startswith("#") or re.fullmatch(r"[\w-]+==[\w.]+", line), line


def test_an_unreachable_wandb_server_stops_nothing(tmp_path, free_port):
    nobody = {"WANDB_BASE_URL": f"http://127.0.0.1:{free_port}", "WANDB_API_KEY": "a" * 40}
    run = door(
        "train.py",
        *TINY,
        *places(tmp_path),
        "wandb.mode=online",
        "loader=torch",
        "workers=0",
        env=nobody,
    )
    assert run.returncode == 0 and run.stdout.startswith("finished"), run.stderr
    assert "W&B cannot be reached" in run.stderr and "Traceback" not in run.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(pd.read_parquet(folder / "steps.parquet")) == 8
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
