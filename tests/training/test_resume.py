"""Runs that are killed, stopped or starved of disk space, and resume to the same numbers."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import time

import pandas as pd
import pytest
from entry_points import PLAIN, TINY, Train, ranks

from clr.errors import CONTINUE
from clr.training.checkpoint import Checkpoints
from clr.training.signals import StopSignal

pytestmark = pytest.mark.slow

EVERY_STEP = ["checkpoint.seconds=0"]
AUGMENTED = ["dataset.crop_padding=4", "dataset.flip=true"]
# Two steps per epoch
SMALL = [*TINY, *PLAIN, "dataset.train_samples=100", "dataset.test_samples=50"]


def places(tmp, store):
    return [f"data_dir={tmp / 'data'}", f"store={tmp / store}"]


def records(tmp, store):
    """Return the steps and epochs of the one run in a store, without the seconds."""
    (folder,) = [path for path in (tmp / store).iterdir() if path.is_dir()]
    tables = [pd.read_parquet(folder / f"{name}.parquet") for name in ("steps", "epochs")]
    return [table.drop(columns="seconds") for table in tables]


def assert_same_records(tables, expected):
    for table, other in zip(tables, expected, strict=True):
        pd.testing.assert_frame_equal(table, other, check_exact=True)


def newest(tmp, store):
    """Return the step of the newest checkpoint; 0 without one."""
    stems = [path.stem for path in (tmp / store).glob("*/checkpoints/step-*.pt")]
    return max((int(stem.removeprefix("step-")) for stem in stems), default=0)


def wait_for_step(tmp, store, step):
    deadline = time.monotonic() + 100
    while newest(tmp, store) < step and time.monotonic() < deadline:
        time.sleep(0.005)


def run_until_step(tmp, args, step, store="runs"):
    """Kill a run when it has a checkpoint of `step` or later; return its checkpoints."""
    run = Train([*args, *places(tmp, store), *EVERY_STEP], tmp / "begun")
    wait_for_step(tmp, store, step)
    run.kill(signal.SIGKILL)
    run.wait()
    return sorted((tmp / store).glob("*/checkpoints/step-*.pt"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with the run `SMALL` in the store `whole`."""
    tmp = tmp_path_factory.mktemp("undisturbed")
    run = Train([*SMALL, *places(tmp, "whole")], tmp / "log")
    assert run.wait() == 0, run.output()
    return tmp


@pytest.mark.parametrize(
    ("optimizer", "kills"),
    [
        (["optimizer=clr"], 20),
        (["optimizer=sgd_momentum_cosine", "optimizer.lr=0.01"], 3),
        (
            [
                "optimizer=sgd",
                "optimizer._target_=torch.optim.NAdam",
                "optimizer.lr=0.001",
                "+optimizer.betas=[0.9,0.95]",
            ],
            3,
        ),
        (["optimizer=schedule_free_sgd", "optimizer.lr=0.3"], 3),
    ],
    ids=["clr", "momentum and schedule", "nadam", "schedule-free"],
)
def test_killed_at_random_moments_a_run_has_the_records_of_an_undisturbed_one(
    tmp_path, optimizer, kills
):
    if "optimizer=schedule_free_sgd" in optimizer:
        pytest.importorskip("schedulefree")
    args = [*SMALL, *AUGMENTED, *optimizer, f"epochs={12 if kills == 20 else 4}"]
    whole = Train([*args, *places(tmp_path, "whole")], tmp_path / "log")
    assert whole.wait() == 0, whole.output()
    draw = random.Random(0)
    for kill in range(kills):
        run = Train([*args, *places(tmp_path, "cut"), *EVERY_STEP], tmp_path / f"log{kill}")
        wait_for_step(tmp_path, "cut", newest(tmp_path, "cut") + draw.randrange(2))
        # In a step, in the writing of a checkpoint, or before there is any.
        time.sleep(draw.uniform(0, 0.2))
        run.kill(signal.SIGKILL)
        assert run.wait() in (-signal.SIGKILL, 0), run.output()
    assert newest(tmp_path, "cut") > 0 or list(tmp_path.glob("cut/*/run.json"))
    last = Train([*args, *places(tmp_path, "cut"), *EVERY_STEP], tmp_path / "last")
    assert last.wait() == 0, last.output()
    assert_same_records(records(tmp_path, "cut"), records(tmp_path, "whole"))
    assert not list(tmp_path.glob("cut/*/checkpoints")), "a completed run needs no checkpoints"


def test_two_ranks_killed_at_random_moments_have_the_records_of_an_undisturbed_run(
    tmp_path, free_port
):
    args = [*SMALL, "epochs=3"]
    for rank in ranks(2, free_port, [*args, *places(tmp_path, "whole")], tmp_path / "log"):
        assert rank.wait() == 0, rank.output()
    draw = random.Random(1)
    for kill in range(3):
        log = tmp_path / f"log{kill}-"
        pair = ranks(2, free_port + 1 + kill, [*args, *places(tmp_path, "cut"), *EVERY_STEP], log)
        wait_for_step(tmp_path, "cut", newest(tmp_path, "cut") + 1)
        victim = draw.randrange(2)
        survivor = pair[1 - victim]
        pair[victim].kill(signal.SIGKILL)
        assert pair[victim].wait() == -signal.SIGKILL
        assert survivor.wait(60) == 1, survivor.output()
        assert "another rank is gone" in survivor.output()
        assert "Traceback" not in survivor.output()
    for rank in ranks(2, free_port + 9, [*args, *places(tmp_path, "cut")], tmp_path / "last"):
        assert rank.wait() == 0, rank.output()
    assert_same_records(records(tmp_path, "cut"), records(tmp_path, "whole"))


@pytest.mark.parametrize("number", StopSignal.SIGNALS, ids=lambda number: number.name)
def test_a_signal_leads_to_a_checkpoint_and_the_exit_code_for_a_rerun(tmp_path, number):
    args = [*SMALL, *places(tmp_path, "runs"), "epochs=400"]
    run = Train([*args, "checkpoint.seconds=1"], tmp_path / "log")
    wait_for_step(tmp_path, "runs", 1)
    run.kill(number)
    assert run.wait() == CONTINUE, run.output()
    stopped = newest(tmp_path, "runs")
    assert 0 < stopped < 800
    assert stopped == len(records(tmp_path, "runs")[0])
    assert f"after step {stopped} of 800" in run.output()


def test_a_forked_child_that_inherits_the_handler_ignores_the_signal():
    with StopSignal() as stop:

        def outlive_the_signal():
            time.sleep(0.5)  # is still running when the signal arrives
            os._exit(stop.received is not None)

        child = multiprocessing.get_context("fork").Process(target=outlive_the_signal)
        child.start()
        time.sleep(0.1)
        child.terminate()
        child.join(60)
        assert child.exitcode == 0
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"


def test_a_signal_to_one_rank_stops_both_at_the_same_step(tmp_path, free_port):
    args = [*SMALL, *places(tmp_path, "runs"), "epochs=400", "checkpoint.seconds=1"]
    pair = ranks(2, free_port, args, tmp_path / "log")
    wait_for_step(tmp_path, "runs", 1)
    pair[1].kill(signal.SIGUSR2)  # the rank that writes nothing
    assert [rank.wait() for rank in pair] == [CONTINUE] * 2, [rank.output() for rank in pair]
    assert newest(tmp_path, "runs") == len(records(tmp_path, "runs")[0]) > 0


def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one(tmp_path, undisturbed):
    *_, newer = run_until_step(tmp_path, SMALL, 3)
    os.truncate(newer, newer.stat().st_size // 2)
    run = Train([*SMALL, *places(tmp_path, "runs")], tmp_path / "again")
    assert run.wait() == 0, run.output()
    assert f"{newer} is damaged" in run.output()
    assert_same_records(records(tmp_path, "runs"), records(undisturbed, "whole"))


def test_a_run_without_a_readable_checkpoint_says_how_to_start_over(tmp_path, undisturbed):
    checkpoints = run_until_step(tmp_path, SMALL, 2)
    for path in checkpoints:
        os.truncate(path, 0)
    args = [*SMALL, *places(tmp_path, "runs")]
    run = Train(args, tmp_path / "refused")
    assert run.wait() == 2, run.output()
    folder = checkpoints[0].parent
    assert f"none of the checkpoints in {folder} can be read; delete that folder" in run.output()
    subprocess.run(["rm", "-r", folder], check=True)
    run = Train(args, tmp_path / "again")
    assert run.wait() == 0, run.output()
    assert_same_records(records(tmp_path, "runs"), records(undisturbed, "whole"))


@pytest.mark.parametrize("content", [{"epoch": 3, "state_dict": {}}, [1, 2]], ids=["dict", "list"])
def test_a_checkpoint_of_another_program_is_one_line(tmp_path, content):
    *_, newer = run_until_step(tmp_path, SMALL, 2)
    Checkpoints(newer.parent, keep=2).save(int(newer.stem.removeprefix("step-")), content)
    run = Train([*SMALL, *places(tmp_path, "runs")], tmp_path / "again")
    assert run.wait() == 2, run.output()
    assert f"the newest checkpoint in {newer.parent} does not fit this run" in run.output()
    assert run.output().count("\n") == 1, run.output()


def test_a_changed_config_is_not_resumed(tmp_path):
    run_until_step(tmp_path, SMALL, 2)
    (path,) = tmp_path.glob("runs/*/config.yaml")
    path.write_text(path.read_text().replace("batch_size: 50", "batch_size: 25"))
    run = Train([*SMALL, *places(tmp_path, "runs")], tmp_path / "log")
    assert run.wait() == 2
    assert "batch_size was 25, is 50" in run.output()
    assert run.output().count("\n") == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for one checkpoint of ResNet-18 and not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]
    if os.getuid() or subprocess.run(mount).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, small_disk, undisturbed):
    args = [*SMALL, f"data_dir={tmp_path / 'data'}", f"store={small_disk / 'runs'}"]
    full = Train([*args, *EVERY_STEP, "checkpoint.keep=1"], tmp_path / "full")
    assert full.wait() == 2, full.output()
    assert "is full; nothing recorded is lost" in full.output()
    assert full.output().count("\n") == 1
    (folder,) = (small_disk / "runs").iterdir()
    assert len(pd.read_parquet(folder / "steps.parquet")) >= 1
    assert not list(folder.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=256m", small_disk], check=True)
    again = Train(args, tmp_path / "again")
    assert again.wait() == 0, again.output()
    assert_same_records(records(small_disk, "runs"), records(undisturbed, "whole"))
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
