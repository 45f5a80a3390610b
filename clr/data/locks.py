"""Locks between processes that prepare the same data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout


@contextmanager
def locked(path: str, waiting: str) -> Iterator[None]:
    """Hold the lock file `path` during the block; print `waiting` if another process holds it.

    The operating system releases the lock of a process that dies.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(waiting, file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
