"""Acquisition of the lock of a run, which distinguishes a dead owner from a live one."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import SoftFileLease, Timeout

POLL_SECONDS = 0.2


def acquire(lease: SoftFileLease, patience: float | None) -> None:
    """Acquire `lease`, or raise filelock's Timeout.

    Args:
        lease: a lease that is not held.
        patience: seconds to wait. None waits until it is known whether the owner is alive: a live
            process on this host is recognized at once, one on another host as soon as it renews
            the lock, three times per lease duration. Without a renewal the lease expires and is
            acquired.
    """
    if patience is not None:
        _remove_empty_lock(lease)
        lease.acquire(timeout=patience)
        return
    first_mark = None
    deadline = time.monotonic() + 2 * lease.lease_duration  # another kind of file never expires
    while True:
        _remove_empty_lock(lease)
        try:
            # One lease object for all attempts: it counts the time since the last renewal.
            lease.acquire(timeout=0)
            return
        except Timeout:
            mark = _mark(Path(lease.lock_file))
            first_mark = first_mark or mark
            renewed = mark is not None and mark != first_mark
            if renewed or _owner_is_on_this_host(lease) or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def _remove_empty_lock(lease: SoftFileLease) -> None:
    """Remove a lock file without content, which the crash of a host can leave.

    filelock keeps such a file for as long as it exists, because versions before 3.22 wrote it. No
    program that uses a store has such a version: a file that is older than a lease has no owner.
    """
    lock = Path(lease.lock_file)
    try:
        status = lock.stat()
        if status.st_size == 0 and time.time() - status.st_mtime > lease.lease_duration:
            lock.unlink()
    except FileNotFoundError:
        return


def _mark(lock: Path) -> tuple[int, int] | None:
    """Return a value that changes whenever the lock is renewed or gets another owner."""
    try:
        status = lock.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _owner_is_on_this_host(lease: SoftFileLease) -> bool:
    owner = lease.owner
    return owner is not None and owner.hostname == _host_name()


@cache
def _host_name() -> str:
    """Return the name of this host in lock files, which differs between containers."""
    with TemporaryDirectory() as folder:
        lease = SoftFileLease(Path(folder) / "lock")
        with lease:
            owner = lease.owner
    assert owner is not None
    return owner.hostname
