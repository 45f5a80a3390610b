"""`train.py`, as a user calls it: real data, real FFCV files, W&B offline, records on disk."""

import json

import pandas as pd
import pytest
import torch
import yaml
from entry_points import PLAIN, TINY, Train

pytestmark = pytest.mark.slow

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="not a mistake with a GPU")


def train(tmp_path, *arguments, store="runs", **environment):
    """Call train.py; returns the exit code, the output and the store."""
    places = [f"data_dir={tmp_path / 'data'}", f"store={tmp_path / store}"]
    run = Train([*TINY, *places, *arguments], tmp_path / f"log-{store}", **environment)
    return run.wait(), run.output(), tmp_path / store


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run with the default loader and with W&B offline."""
    tmp_path = tmp_path_factory.mktemp("trained")
    code, output, store = train(tmp_path)
    assert code == 0, output
    (folder,) = store.glob("digits*")
    return folder


def test_every_step_and_epoch_is_recorded(trained):
    steps = pd.read_parquet(trained / "steps.parquet")
    epochs = pd.read_parquet(trained / "epochs.parquet")
    assert steps["step"].tolist() == list(range(1, 9))
    assert steps["samples"].tolist() == [50 * step for step in range(1, 9)]
    assert steps["epoch"].tolist() == [0] * 4 + [1] * 4
    assert epochs["step"].tolist() == [4, 8]


def test_the_recorded_rate_is_clr_of_the_recorded_loss_and_norm(trained):
    steps = pd.read_parquet(trained / "steps.parquet")
    expected = steps["loss"] / steps["grad_norm_sq"]
    assert steps["learning_rate"].tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_the_record_has_summary_data_and_provenance(trained):
    run = json.loads((trained / "run.json").read_text())
    steps = pd.read_parquet(trained / "steps.parquet")
    assert run["status"] == "finished"
    assert run["summary"]["final_train_loss"] == pytest.approx(steps["loss"][4:].mean())
    assert {"revision", "hardware", "libraries", "threads"} <= set(run["provenance"])
    assert len(run["data"]["fingerprint"]) == 64
    assert yaml.safe_load((trained / "config.yaml").read_text())["batch_size"] == 50
    assert list(trained.glob("wandb/offline-run-*/*.wandb"))


def test_a_completed_run_is_not_trained_again(trained):
    before = (trained / "run.json").stat().st_mtime_ns
    code, output, _ = train(trained.parents[1])
    assert code == 0, output
    assert "finished before: 8 steps" in output
    assert (trained / "run.json").stat().st_mtime_ns == before


def test_the_other_loader_gives_the_same_records(trained):
    code, output, store = train(trained.parents[1], *PLAIN, store="other")
    assert code == 0, output
    for table in ("steps.parquet", "epochs.parquet"):
        expected = pd.read_parquet(trained / table).drop(columns="seconds")
        records = pd.read_parquet(store / trained.name / table).drop(columns="seconds")
        pd.testing.assert_frame_equal(records, expected)


def test_a_diverging_rate_is_a_result(tmp_path):
    code, output, store = train(tmp_path, *PLAIN, "optimizer=sgd", "optimizer.lr=1e30")
    assert code == 0, output
    assert output.splitlines()[-1].startswith("diverged")
    (folder,) = store.iterdir()
    losses = pd.read_parquet(folder / "steps.parquet")["loss"]
    assert len(losses) < 8
    assert not abs(losses.iloc[-1]) < float("inf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["foo=1"], "foo"),
        (["optimizer.foo=1"], "optimizer.foo"),
        (["epochs=abc"], "abc"),
        (["epochs=0"], "epochs=0"),
        (["precision=fp8"], "fp32, bf16"),
        (["optimizer=nope"], "clr"),
        (["optimizer.name=a/b"], "optimizer.name=a/b must not contain /"),
        (["dataset.name=../../x"], "dataset.name=../../x must not contain /"),
        (["+optimizer.process_group=3"], "optimizer.process_group cannot be set"),
        (["dataset=folder", "dataset.path=/nowhere"], "/nowhere"),
        (["dataset=folder"], "dataset.path"),
        (["batch_size=5000"], "batch_size=5000"),
        pytest.param(["device=cuda"], "no GPU", marks=without_gpu),
        pytest.param(["precision=tf32"], "fp32 or bf16", marks=without_gpu),
        pytest.param(["model.norm=sync"], "batch or group", marks=without_gpu),
        (["device_batch_size=1"], "device_batch_size=1"),
        (["batch_size=127", "device_batch_size=50"], "equal parts"),
        (["store=/proc/runs"], "another store"),
        (["store={tmp}/file"], "/file is a file; the store must be a folder"),
        (["data_dir=/proc/data"], "data_dir"),
        (["dataset=folder", "dataset.path={tmp}/one"], "two"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "one" / split / "cat").mkdir(parents=True)
        (tmp_path / "one" / split / "cat" / "0.png").touch()
    (tmp_path / "file").touch()
    places = {"data_dir": tmp_path / "data", "store": tmp_path / "runs"}
    places = {key: f"{key}={place}" for key, place in places.items()}
    places |= {a.partition("=")[0]: a.format(tmp=tmp_path) for a in arguments}
    run = Train([*PLAIN, *places.values()], tmp_path / "log")
    assert run.wait() == 2
    (line,) = run.output().strip().splitlines()
    assert message in line


def test_the_record_of_an_unreachable_wandb_server_is_complete(tmp_path, free_port):
    nobody = {"WANDB_BASE_URL": f"http://127.0.0.1:{free_port}", "WANDB_API_KEY": "a" * 40}
    overrides = [*PLAIN, "wandb.mode=online"]
    code, output, store = train(tmp_path, *overrides, **nobody)
    assert code == 0, output
    assert "W&B cannot be reached" in output
    assert "Traceback" not in output
    (folder,) = store.iterdir()
    assert len(pd.read_parquet(folder / "steps.parquet")) == 8
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
