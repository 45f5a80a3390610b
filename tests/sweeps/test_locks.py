"""Locks of runs: another process's run is left alone, and taken over when its owner is dead."""

import os
import socket
import time

import pytest
from entry_points import Train

from clr.config import load
from clr.data import prepare
from clr.errors import CONTINUE, Busy
from clr.runs import store as store_module
from clr.runs.identity import run_id
from clr.runs.store import Store
from clr.training.trainer import train


@pytest.fixture
def planned(folders):
    cfg = load([*folders.train_arguments(), "epochs=1"])
    info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
    return cfg, info, Store(cfg.store), run_id(cfg, info.fingerprint)


def test_a_run_of_another_process_is_left_alone(planned, folders, tmp_path):
    _, _, store, name = planned
    with store.claim(name):
        other = Train([*folders.train_arguments(), "epochs=1"], tmp_path / "log")
        assert other.wait() == CONTINUE
        assert f"process {os.getpid()} on" in other.output()
        assert len(other.output().splitlines()) == 1
    assert list(store.folder(name).iterdir()) == []


def test_the_lock_of_a_dead_process_is_taken_over(planned):
    cfg, info, store, name = planned
    child = os.fork()
    if child == 0:
        store.folder(name).mkdir(parents=True)
        lease = store.lease(name)
        lease.acquire(timeout=0)
        os._exit(0)  # without releasing the lease
    os.waitpid(child, 0)
    assert (store.folder(name) / "lock").exists()
    assert train(cfg, info)["status"] == "finished"


@pytest.mark.slow
def test_the_lock_of_another_host_is_taken_over_after_its_lease(planned, monkeypatch):
    cfg, info, store, name = planned
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 2.0)
    with store.claim(name):
        record = (store.folder(name) / "lock").read_text()
    # Whether a process on another host is alive cannot be seen from this one.
    lock = store.folder(name) / "lock"
    lock.write_text(record.replace(f"host={socket.gethostname()}", "host=elsewhere"))
    with pytest.raises(Busy, match="on elsewhere"):
        train(cfg, info, patience=0.5)
    assert train(cfg, info, patience=10)["status"] == "finished"


def test_a_process_that_lost_its_lock_stops(planned, monkeypatch):
    cfg, info, store, _ = planned
    cfg.epochs = 2000
    folder = store.folder(run_id(cfg, info.fingerprint))
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 0.6)
    child = os.fork()
    if child == 0:
        while not (folder / "progress.json").exists():
            time.sleep(0.05)
        (folder / "lock").unlink()
        os._exit(0)
    with pytest.raises(Busy, match="taken over"):
        train(cfg, info)
    os.waitpid(child, 0)
    assert not (folder / "run.json").exists()
