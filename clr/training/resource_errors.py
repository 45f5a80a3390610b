"""Exhausted resources, disk and memory, as errors that a user can fix."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clr.errors import UserError


@contextmanager
def explained(folder: Path, device_batch_size: int) -> Iterator[None]:
    """Turns a full disk below `folder`, and memory that `device_batch_size` images overflow, into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"the disk of {folder} is full; what was recorded is safe: make room, and the same command goes on"
        ) from error
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # On the CPU torch has no type of its own for it.
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        raise UserError(
            f"the device has no memory for {device_batch_size} images at once; set device_batch_size to less, which "
            "changes how a batch is cut, not the batch size"
        ) from error
