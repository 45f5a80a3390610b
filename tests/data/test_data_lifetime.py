"""Threads and processes that load data: they end with their iterator, and survive signals."""

import contextlib
import gc
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_cases import RAW_LOADERS, ROOT, same

from clr.data import open_loader, prepare
from clr.data.ffcv_files import EpochIterator, read_ffcv
from clr.data.requests import Request

pytestmark = pytest.mark.slow

N = 24


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_survive_signals_to_the_process_group(info):
    expected = list(open_loader(info, "train", 1, "torch", 0).epoch(0, 0))
    before = running()
    batches = open_loader(info, "train", 1, "torch", 2).epoch(0, 0)
    got = [next(batches)]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, number)
        got.append(next(batches))
    assert len(multiprocessing.active_children()) == 2
    got.extend(batches)
    assert same(got, expected)
    assert settles_at(before)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_workers_end_with_their_parent(info):
    code = f"""
import multiprocessing, os, signal
from clr.config import DatasetConfig
from clr.data import open_loader, prepare
info = prepare({info.config!r}, {os.path.dirname(info.folder)!r}, "torch")
batches = open_loader(info, "train", 1, "torch", 1).epoch(0, 0)
next(batches)
print(multiprocessing.active_children()[0].pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    worker = int(process.stdout.readline())
    process.wait()
    deadline = time.monotonic() + 20  # torch's worker checks every five seconds
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def running() -> int:
    return threading.active_count() + len(multiprocessing.active_children())


def settles_at(expected: int) -> bool:
    """Return whether threads and processes end until `expected` are left, some of them late."""
    deadline = time.monotonic() + 10
    while running() > expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return running() <= expected


@pytest.mark.parametrize("loader", RAW_LOADERS)
def test_abandoned_epochs_leave_no_thread_or_process(info, loader):
    batches = open_loader(info, "train", 1, loader, 1)
    list(batches.epoch(0, 0))
    before = running()
    # With FFCV's queue full, and with its thread waiting to put the end mark.
    for taken in (1, 2, 19, 20, 21, 24):
        iterator = batches.epoch(0, taken)
        for _ in range(taken):
            next(iterator)
        time.sleep(0.05)
        if taken % 2:
            iterator.close()
        else:
            del iterator
        assert settles_at(before)
    with pytest.raises(ZeroDivisionError), contextlib.closing(batches.epoch(0, 0)) as epoch:
        for _ in epoch:
            1 / 0  # noqa: B018
    assert settles_at(before)
    assert len(list(batches.epoch(0, 0))) == N


def test_epoch_in_a_reference_cycle_is_ended_by_the_garbage_collector(info):
    before = running()
    for _ in range(3):
        cycle = [open_loader(info, "train", 1, "ffcv", 1).epoch(0, 0)]
        next(cycle[0])
        cycle.append(cycle)
    del cycle
    gc.collect()
    assert settles_at(before)


def test_closing_an_epoch_does_not_read_it_to_the_end(info, monkeypatch):
    read, real = [], EpochIterator.run_pipeline
    monkeypatch.setattr(
        EpochIterator, "run_pipeline", lambda *args: read.append(args[1]) or real(*args)
    )
    epoch = open_loader(info, "train", 1, "ffcv", 1).epoch(0, 0)
    next(epoch)
    epoch.close()
    assert 1 <= len(read) <= 6  # read ahead, of 24


def test_error_in_ffcv_thread_reaches_the_reader(info, capfd, monkeypatch):
    # pytest's own hook would turn the error into a warning.
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    request = Request(np.arange(4), 2, info.resolution)
    iterator = read_ffcv(info.beton("train"), request, 1)
    real = EpochIterator.run_pipeline
    monkeypatch.setattr(EpochIterator, "run_pipeline", lambda *args: 1 / 0)
    with pytest.raises(RuntimeError, match="loading thread died"):
        next(iterator)
    assert "ZeroDivisionError" in capfd.readouterr().err
    monkeypatch.setattr(EpochIterator, "run_pipeline", real)
    assert len(list(read_ffcv(info.beton("train"), request, 1))) == 2


def test_file_that_was_converted_again_is_opened_again(info, data_folder):
    (before,) = open_loader(info, "test", 9, "ffcv", 1).epoch()
    for path in (data_folder / "test" / "cat").iterdir():
        os.replace(path, data_folder / "test" / "ant" / f"new{path.name}")
        shutil.copy(data_folder / "test" / "bee" / path.name.replace("2.png", "2.jpg"), path)
    shutil.rmtree(info.folder)
    again = prepare(info.config, info.folder.rpartition("/")[0], "torch")
    os.rename(again.folder, info.folder)  # other content under the old name
    moved = replace(again, folder=info.folder)
    batches = list(open_loader(moved, "test", 9, "torch", 0).epoch())
    (after, *more) = open_loader(moved, "test", 9, "ffcv", 1).epoch()
    assert len(batches) == 2
    assert same([after, *more], batches)
    assert not torch.equal(after.images, before.images)
