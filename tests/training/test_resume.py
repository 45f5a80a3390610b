"""Runs that are killed, stopped, starved of disk, and go on as if nothing had been."""

import json
import os
import random
import signal
import subprocess
import time

import pandas as pd
import pytest
import torch
from entry_points import PLAIN, TINY, Train, ranks

from clr.errors import CONTINUE
from clr.training.checkpoint import Checkpoints
from clr.training.signals import StopSignal

EVERY_STEP = ["checkpoint.seconds=0"]
AUGMENTED = ["dataset.crop_padding=4", "dataset.flip=true"]


def places(tmp, store):
    return [f"data_dir={tmp / 'data'}", f"store={tmp / store}"]


def records(tmp, store):
    """The one run's steps and epochs, without the clock."""
    (folder,) = [p for p in (tmp / store).iterdir() if p.is_dir()]
    return [
        pd.read_parquet(folder / f"{name}.parquet").drop(columns="seconds")
        for name in ("steps", "epochs")
    ]


def same(one, other):
    for a, b in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def newest(tmp, store):
    """The step of the newest checkpoint; 0 before there is one."""
    names = [p.stem for p in (tmp / store).glob("*/checkpoints/step-*.pt")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def wait_for_step(tmp, store, step):
    deadline = time.monotonic() + 100
    while newest(tmp, store) < step and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize(
    "optimizer", [["optimizer=clr"], ["optimizer=sgd", "+optimizer.momentum=0.9"]]
)
def test_killed_at_20_random_moments_the_records_are_the_undisturbed_ones(tmp_path, optimizer):
    args = [*TINY, *PLAIN, *AUGMENTED, *optimizer, "epochs=16"]
    whole = Train([*args, *places(tmp_path, "whole")], tmp_path / "log")
    assert whole.wait() == 0, whole.output()
    draw, kills = random.Random(0), 0
    while kills < 20:
        run = Train([*args, *places(tmp_path, "cut"), *EVERY_STEP], tmp_path / f"log{kills}")
        wait_for_step(tmp_path, "cut", newest(tmp_path, "cut") + draw.randrange(3))
        time.sleep(
            draw.uniform(0, 0.4)
        )  # in a step, in the writing of a checkpoint, or before there is any
        run.kill(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL, run.output()
        kills += 1
    last = Train([*args, *places(tmp_path, "cut"), *EVERY_STEP], tmp_path / "last")
    assert last.wait() == 0, last.output()
    same(records(tmp_path, "cut"), records(tmp_path, "whole"))
    assert len(records(tmp_path, "cut")[0]) == 64
    assert not list(tmp_path.glob("cut/*/checkpoints"))  # a finished run needs none


def test_two_ranks_killed_at_random_moments_go_on_alike(tmp_path, free_port):
    args = [*TINY, *PLAIN, "epochs=4"]
    for rank in ranks(2, free_port, [*args, *places(tmp_path, "whole")], tmp_path / "log"):
        assert rank.wait() == 0, rank.output()
    draw = random.Random(1)
    for kill in range(4):
        pair = ranks(
            2,
            free_port + 1 + kill,
            [*args, *places(tmp_path, "cut"), *EVERY_STEP],
            tmp_path / f"log{kill}-",
        )
        wait_for_step(tmp_path, "cut", newest(tmp_path, "cut") + 1 + draw.randrange(2))
        time.sleep(draw.uniform(0, 0.3))
        victim = draw.randrange(2)
        pair[victim].kill(signal.SIGKILL)
        assert pair[victim].wait() == -signal.SIGKILL
        assert pair[1 - victim].wait(60) == 1, pair[1 - victim].output()  # no hang, and one line
        assert (
            "another rank is gone" in pair[1 - victim].output()
            and "Traceback" not in pair[1 - victim].output()
        )
    for rank in ranks(2, free_port + 9, [*args, *places(tmp_path, "cut")], tmp_path / "last"):
        assert rank.wait() == 0, rank.output()
    same(records(tmp_path, "cut"), records(tmp_path, "whole"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_checkpoints_and_asks_to_be_continued(tmp_path, number):
    args = [*TINY, *PLAIN, *places(tmp_path, "runs"), "epochs=200"]
    run = Train([*args, "checkpoint.seconds=2"], tmp_path / "log")
    wait_for_step(tmp_path, "runs", 1)
    run.kill(number)
    assert run.wait() == CONTINUE, run.output()
    stopped = newest(tmp_path, "runs")
    steps, _ = records(tmp_path, "runs")
    assert 0 < stopped == len(steps) < 800 and f"after step {stopped} of 800" in run.output()


def test_a_forked_helper_that_inherits_the_handler_does_nothing():
    with StopSignal() as stop:
        child = os.fork()
        if child == 0:
            time.sleep(0.5)  # goes on after the signal
            os._exit(stop.received is not None)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        assert os.waitpid(child, 0)[1] == 0 and stop.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"


def test_a_signal_to_one_rank_stops_both_at_one_step(tmp_path, free_port):
    args = [*TINY, *PLAIN, *places(tmp_path, "runs"), "epochs=200", "checkpoint.seconds=2"]
    pair = ranks(2, free_port, args, tmp_path / "log")
    wait_for_step(tmp_path, "runs", 1)
    pair[1].kill(signal.SIGUSR2)  # the rank that writes nothing
    assert [rank.wait() for rank in pair] == [CONTINUE, CONTINUE], [rank.output() for rank in pair]
    assert newest(tmp_path, "runs") == len(records(tmp_path, "runs")[0]) > 0


def stop_at(tmp, args, step, store="runs"):
    """Run until there is a checkpoint of `step` or later; it is then killed."""
    run = Train([*args, *places(tmp, store), *EVERY_STEP], tmp / "begun")
    wait_for_step(tmp, store, step)
    run.kill(signal.SIGKILL)
    run.wait()
    return sorted((tmp / store).glob("*/checkpoints/step-*.pt"))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "both"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, damage):
    args = [*TINY, *PLAIN]
    whole = Train([*args, *places(tmp_path, "whole")], tmp_path / "log")
    assert whole.wait() == 0, whole.output()
    older, newer = stop_at(tmp_path, args, 3)[
        -2:
    ]  # killed before the oldest was deleted, there are three
    for path in (older, newer) if damage == "both" else (newer,):
        size = path.stat().st_size
        if damage == "flipped":
            with open(path, "r+b") as file:
                file.seek(size // 2)
                byte = file.read(1)
                file.seek(size // 2)
                file.write(bytes([byte[0] ^ 1]))
        else:
            os.truncate(path, 0 if damage == "empty" else size // 2)
    run = Train([*args, *places(tmp_path, "runs")], tmp_path / "again")
    assert run.wait() == 0, run.output()
    assert f"{newer} is damaged" in run.output() and "going on from the one before" in run.output()
    assert (f"{older} is damaged" in run.output()) == (damage == "both")
    same(records(tmp_path, "runs"), records(tmp_path, "whole"))


def test_a_resume_with_a_changed_config_is_refused(tmp_path):
    stop_at(tmp_path, [*TINY, *PLAIN], 2)
    (path,) = tmp_path.glob("runs/*/config.yaml")
    path.write_text(path.read_text().replace("batch_size: 50", "batch_size: 25"))
    run = Train([*TINY, *PLAIN, *places(tmp_path, "runs")], tmp_path / "log")
    assert run.wait() == 2
    assert "batch_size was 25, is 50" in run.output() and run.output().count("\n") == 1


def test_only_the_newest_checkpoints_are_kept_and_read_safely(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert checkpoints.newest() is None
    for step in (9, 10, 11):
        checkpoints.save(step, {"step": step, "tensor": torch.arange(step)})
    assert [p.name for p in sorted(checkpoints.folder.iterdir())] == [
        "step-000000010.pt",
        "step-000000011.pt",
    ]
    assert checkpoints.newest()["tensor"].tolist() == list(range(11))
    torch.save(
        {"code": os.getcwd}, tmp_path / "checkpoints" / "step-000000012.pt"
    )  # weights_only refuses it
    assert checkpoints.newest()["step"] == 11


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for one checkpoint of ResNet-18 and not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.getuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]).returncode
    ):
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, small_disk):
    args = [*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}"]
    whole = Train([*args, f"store={tmp_path / 'whole'}"], tmp_path / "log")
    assert whole.wait() == 0, whole.output()
    full = Train(
        [*args, f"store={small_disk / 'runs'}", *EVERY_STEP, "checkpoint.keep=1"], tmp_path / "full"
    )
    assert full.wait() == 2
    assert "is full; what was recorded is safe" in full.output() and full.output().count("\n") == 1
    (folder,) = (small_disk / "runs").iterdir()
    assert len(pd.read_parquet(folder / "steps.parquet")) >= 1
    assert not list(folder.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=256m", small_disk], check=True)  # room is made
    again = Train([*args, f"store={small_disk / 'runs'}"], tmp_path / "again")
    assert again.wait() == 0, again.output()
    same(records(small_disk, "runs"), records(tmp_path, "whole"))
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
