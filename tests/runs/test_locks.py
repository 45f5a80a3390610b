"""The lock of a run: left alone while its process lives, taken over when the process is dead."""

import multiprocessing
import os
import time

import pytest
from entry_points import Train
from small_runs import SMALL, leave_foreign_lock, small_identity

from clr.errors import CONTINUE, Busy
from clr.runs import store as store_module
from clr.training.trainer import train

# A child of os.fork that raises an error would run the other tests; a Process ends.
fork = multiprocessing.get_context("fork")


def test_a_run_of_a_living_process_is_left_alone(tmp_path):
    cfg, _, store, name = small_identity(tmp_path)
    arguments = [*SMALL, f"data_dir={cfg.data_dir}", f"store={cfg.store}"]
    with store.claim(name):
        other = Train(arguments, tmp_path / "log")
        assert other.wait() == CONTINUE
        (line,) = other.output().splitlines()
        assert f"is being trained by process {os.getpid()} on" in line
    assert list(store.folder(name).iterdir()) == []


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    cfg, info, store, name = small_identity(tmp_path)

    def die_with_the_lock():
        store.folder(name).mkdir(parents=True)
        lease = store.lease(name)
        lease.acquire(timeout=0)
        os._exit(0)  # without releasing the lease

    owner = fork.Process(target=die_with_the_lock)
    owner.start()
    owner.join(60)
    assert owner.exitcode == 0
    assert (store.folder(name) / "lock").exists()
    assert train(cfg, info)["status"] == "finished"


def test_a_process_that_lost_its_lock_stops(tmp_path, monkeypatch):
    cfg, info, store, name = small_identity(tmp_path, "epochs=2000")
    folder = store.folder(name)
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 0.6)

    def remove_the_lock():
        while not (folder / "progress.json").exists():
            time.sleep(0.05)
        (folder / "lock").unlink()

    thief = fork.Process(target=remove_the_lock)
    thief.start()
    try:
        with pytest.raises(Busy, match="taken over"):
            train(cfg, info)
    finally:
        thief.kill()
        thief.join()
    assert not (folder / "run.json").exists()


def locked_run(tmp_path):
    """A run whose lock was left by a process of another host that died."""
    cfg, info, store, name = small_identity(tmp_path)
    leave_foreign_lock(store, name)
    return cfg, info, store, name


@pytest.mark.slow
def test_one_call_takes_over_the_lock_of_a_dead_host(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 2.0)
    cfg, info, store, name = locked_run(tmp_path)
    with pytest.raises(Busy, match="on elsewhere"), store.claim(name, patience=0.5):
        pass
    assert train(cfg, info)["status"] == "finished"


@pytest.mark.timeout(60)
def test_a_lock_of_another_host_that_is_renewed_is_respected_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 1000.0)
    cfg, info, store, name = locked_run(tmp_path)

    def renew():
        while True:
            os.utime(store.folder(name) / "lock")
            os.sched_yield()

    owner = fork.Process(target=renew)
    owner.start()
    try:
        with pytest.raises(Busy, match="on elsewhere"):
            train(cfg, info)
        assert owner.is_alive()
    finally:
        owner.kill()
        owner.join()


def test_an_empty_lock_of_a_crashed_host_is_removed(tmp_path):
    cfg, info, store, name = small_identity(tmp_path)
    lock = store.folder(name) / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(Busy), store.claim(name):  # another process may be about to write it
        pass
    long_ago = time.time() - 2 * store_module.LEASE_SECONDS
    os.utime(lock, (long_ago, long_ago))
    with store.claim(name):
        pass
    lock.touch()
    os.utime(lock, (long_ago, long_ago))
    assert train(cfg, info)["status"] == "finished"


def test_a_file_that_never_expires_is_waited_for_in_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 0.5)
    store = store_module.Store(tmp_path)
    store.folder("run").mkdir()
    (store.folder("run") / "lock").write_text("1\nelsewhere\n")
    with pytest.raises(Busy, match="being trained"), store.claim("run", patience=None):
        pass
