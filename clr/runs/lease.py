"""Waiting for the lock of a run, and telling a dead owner from a living one."""

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
        patience: seconds to wait. With None, a lock of a living process of this host is refused at
            once, and a lock of another host as soon as its owner renews it: a living owner does so
            three times per lease duration. If it is not renewed, the lease expires and is acquired.
    """
    if patience is not None:
        lease.acquire(timeout=patience)
        return
    first_mark = None
    while True:
        try:
            # One lease object for all attempts: it counts the time since the last renewal.
            lease.acquire(timeout=0)
            return
        except Timeout:
            mark = _mark(Path(lease.lock_file))
            first_mark = first_mark or mark
            renewed = mark is not None and mark != first_mark
            if renewed or _owner_is_on_this_host(lease):
                raise
        time.sleep(POLL_SECONDS)


def _mark(lock: Path) -> tuple[int, int] | None:
    """Changes whenever the lock is renewed or gets another owner."""
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
    """The name of this host in lock files, which also tells containers apart."""
    with TemporaryDirectory() as folder:
        lease = SoftFileLease(Path(folder) / "lock")
        with lease:
            owner = lease.owner
    assert owner is not None
    return owner.hostname
