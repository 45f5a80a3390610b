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

from clr.config import DatasetConfig
from clr.data import open_loader, prepare
from clr.data.ffcv_files import EpochIterator, read_beton
from clr.data.sources import open_source
from clr.errors import UserError

LOADERS = ["ffcv", "torch"]
N = 24
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def info(data_folder, tmp_path):
    config = DatasetConfig(name="insects", source="folder", path=str(data_folder), resolution=12)
    return prepare(config, str(tmp_path / "data"), "ffcv")


def same(batches, others) -> bool:
    batches, others = list(batches), list(others)
    return len(batches) == len(others) and all(
        torch.equal(x, y)
        for b, o in zip(batches, others, strict=True)
        for x, y in zip(b, o, strict=True)
    )


@pytest.mark.parametrize("loader", LOADERS)
def test_batches_are_the_images_with_their_labels(info, loader):
    for split in ("train", "test"):
        source = open_source(info.config).split(split)
        for batch in open_loader(info, split, 5, loader, 1).epoch(3, 1):
            assert (batch.images.dtype, batch.labels.dtype, batch.ids.dtype) == (
                torch.uint8,
                torch.int64,
                torch.int64,
            )
            for image, label, i in zip(*batch, strict=True):
                assert (image.numpy() == source[i]).all() and label == source.labels[i]


@pytest.mark.parametrize("split", ["train", "test"])
def test_both_loaders_give_the_same_batches(info, split):
    ffcv, other = (open_loader(info, split, 5, loader, 1) for loader in LOADERS)
    assert ffcv.steps_per_epoch == other.steps_per_epoch == (4 if split == "train" else 2)
    for seed, epoch, start in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (7, 3, 3)]:
        assert same(ffcv.epoch(seed, epoch, start), other.epoch(seed, epoch, start))


@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create 3 worker processes"
)  # on two cores; it is meant
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_workers_do_not_matter(info, loader, workers):
    one, many = (open_loader(info, "train", 4, loader, w) for w in (1, workers))
    assert same(one.epoch(0, 0), many.epoch(0, 0))


@pytest.mark.parametrize("loader", LOADERS)
def test_training_epoch_visits_each_sample_once(info, loader):
    ids = torch.cat([b.ids for b in open_loader(info, "train", 4, loader, 0).epoch(5, 2)])
    assert sorted(ids.tolist()) == list(range(N))
    batches = list(open_loader(info, "train", 7, loader, 0).epoch(5, 2))
    assert [len(b.images) for b in batches] == [7, 7, 7]  # three are left over
    assert torch.cat([b.ids for b in batches]).tolist() == ids[:21].tolist()
    assert len(set(torch.cat([b.ids for b in batches]).tolist())) == 21


@pytest.mark.parametrize("loader", LOADERS)
def test_test_epoch_is_all_samples_in_order(info, loader):
    batches = list(open_loader(info, "test", 4, loader, 0).epoch())
    assert [len(b.images) for b in batches] == [4, 4, 1]
    assert torch.cat([b.ids for b in batches]).tolist() == list(range(9))
    (whole,) = open_loader(info, "test", 100, loader, 0).epoch()
    assert torch.equal(whole.labels, torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]))


@pytest.mark.parametrize("loader", LOADERS)
def test_order_differs_by_seed_and_epoch_only(info, loader):
    def order(seed, epoch):
        return tuple(
            torch.cat(
                [b.ids for b in open_loader(info, "train", 4, loader, 0).epoch(seed, epoch)]
            ).tolist()
        )

    assert len({order(s, e) for s in range(3) for e in range(3)}) == 9
    assert order(1, 2) == order(1, 2)


@pytest.mark.parametrize("loader", LOADERS)
def test_start_in_mid_epoch_gives_the_remaining_batches(info, loader):
    batches = open_loader(info, "train", 5, loader, 1)
    whole = list(batches.epoch(2, 1))
    for start in range(5):
        assert same(batches.epoch(2, 1, start), whole[start:])


@pytest.mark.parametrize("loader", LOADERS)
def test_batches_outlive_their_successors(info, loader):
    held = []
    for batch in open_loader(info, "train", 2, loader, 1).epoch(
        0, 0
    ):  # more batches than FFCV has buffers
        held.append((batch, [x.clone() for x in batch]))
        time.sleep(0.005)  # lets FFCV write into the buffers that are free
    assert len(held) == 12
    assert all(torch.equal(x, y) for batch, copy in held for x, y in zip(batch, copy, strict=True))


@pytest.mark.parametrize("loader", LOADERS)
def test_epochs_of_one_file_may_overlap(info, loader):
    small, large = (open_loader(info, "train", b, loader, 1) for b in (3, 4))
    expected = list(small.epoch(0, 0)), list(large.epoch(1, 1))
    got = [], []
    first, second = small.epoch(0, 0), large.epoch(1, 1)
    for _ in range(6):
        got[0].append(next(first))
        got[1].append(next(second))
    got[0].extend(first)
    assert same(got[0], expected[0]) and same(got[1], expected[1])


def test_batch_larger_than_the_dataset(info):
    with pytest.raises(UserError, match="batch_size=25, but insects has only 24"):
        open_loader(info, "train", 25, "torch", 0)
    assert open_loader(info, "train", 24, "torch", 0).steps_per_epoch == 1


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("workers", [0, 1])
def test_global_generators_and_thread_count_are_left_alone(info, loader, workers):
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1], torch.get_num_threads()
    list(open_loader(info, "train", 5, loader, workers).epoch(0, 0))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.get_num_threads() == before[2]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(("ranks", "accumulate"), [(1, 2), (2, 1), (2, 2), (4, 2)])
def test_parts_of_all_ranks_are_the_batch(info, loader, ranks, accumulate):
    whole = open_loader(info, "train", 8, loader, 0)
    parts = [
        open_loader(info, "train", 8, loader, 0, rank, ranks, accumulate) for rank in range(ranks)
    ]
    assert {part.steps_per_epoch for part in parts} == {whole.steps_per_epoch} == {3}
    for start in (0, 2):
        epochs = [list(part.epoch(1, 2, start)) for part in parts]
        assert {len(epoch) for epoch in epochs} == {(3 - start) * accumulate}
        for step, batch in enumerate(whole.epoch(1, 2, start)):
            micro = [
                b for epoch in epochs for b in epoch[step * accumulate : (step + 1) * accumulate]
            ]
            assert {len(b.labels) for b in micro} == {8 // ranks // accumulate}
            assert all(
                torch.equal(torch.cat(x), y)
                for x, y in zip(zip(*micro, strict=True), batch, strict=True)
            )


@pytest.mark.parametrize("loader", LOADERS)
def test_ranks_share_the_test_images(info, loader):
    parts = [open_loader(info, "test", 2, loader, 0, rank, 4) for rank in range(4)]
    batches = [list(part.epoch()) for part in parts]
    assert [len(b) for b in batches] == [part.steps_per_epoch for part in parts] == [2, 1, 1, 1]
    (whole,) = open_loader(info, "test", 9, loader, 0).epoch()
    together = zip(*(batch for part in batches for batch in part), strict=True)
    assert all(torch.equal(torch.cat(x), y) for x, y in zip(together, whole, strict=True))


def test_batch_that_cannot_be_shared(info):
    with pytest.raises(ValueError, match="2 ranks × 3 parts"):
        open_loader(info, "train", 8, "torch", 0, 0, 2, 3)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_outlive_signals_to_the_process_group(info):
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
    deadline = time.monotonic() + 20  # torch's worker looks every five seconds
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
    """Whether all but at most `expected` threads and processes end; torch lets some end in their own time."""
    deadline = time.monotonic() + 10
    while running() > expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return running() <= expected


@pytest.mark.parametrize("loader", LOADERS)
def test_abandoned_epochs_leave_no_thread_or_process(info, loader):
    batches = open_loader(info, "train", 1, loader, 1)
    list(batches.epoch(0, 0))
    before = running()
    for taken in (
        1,
        2,
        19,
        20,
        21,
        24,
    ):  # with FFCV's queue full, and with its thread waiting to put the end mark
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
    assert 1 <= len(read) <= 6  # what was read ahead, of 24


def test_error_in_ffcv_thread_reaches_the_reader(info, capfd, monkeypatch):
    monkeypatch.setattr(
        threading, "excepthook", threading.__excepthook__
    )  # pytest's would make it a warning
    ids = np.array([0, 1, 2, 3])
    iterator = read_beton(info.beton("train"), ids, 2, 1)
    real = EpochIterator.run_pipeline
    monkeypatch.setattr(EpochIterator, "run_pipeline", lambda *args: 1 / 0)
    with pytest.raises(RuntimeError, match="loading thread died"):
        next(iterator)
    assert "ZeroDivisionError" in capfd.readouterr().err
    monkeypatch.setattr(EpochIterator, "run_pipeline", real)
    assert len(list(read_beton(info.beton("train"), ids, 2, 1))) == 2


def test_file_converted_again_is_read_anew(info, data_folder):
    (before,) = open_loader(info, "test", 9, "ffcv", 1).epoch()
    for path in (data_folder / "test" / "cat").iterdir():
        os.replace(path, data_folder / "test" / "ant" / f"new{path.name}")
        shutil.copy(data_folder / "test" / "bee" / path.name.replace("2.png", "2.jpg"), path)
    shutil.rmtree(info.folder)
    again = prepare(info.config, info.folder.rpartition("/")[0], "ffcv")
    os.rename(again.folder, info.folder)  # other content under the old name
    moved = replace(again, folder=info.folder)
    batches = list(open_loader(moved, "test", 9, "torch", 0).epoch())
    (after, *more) = open_loader(moved, "test", 9, "ffcv", 1).epoch()
    assert len(batches) == 2 and same([after, *more], batches)
    assert not torch.equal(after.images, before.images)
