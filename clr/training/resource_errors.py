"""Exhausted or unwritable disk and exhausted memory, reported as errors that a user can fix."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clr.errors import UserError

# PyTorch raises a plain RuntimeError for most of these.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory"  # the CPU allocator
    r"|cannot allocate memory"  # ENOMEM, for example from mmap
    r"|not enough memory"  # the CPU allocator on Windows
    r"|\b(cuda|hip|mps|xpu)\b[\w :']{0,40}\bout of memory"
    r"|_alloc_failed\b",  # cuBLAS, cuDNN, cuFFT, cuSOLVER, cuSPARSE
    re.IGNORECASE,
)


@contextmanager
def explain_resource_errors(folder: Path, micro_batch_size: int) -> Iterator[None]:
    """Turn a full or unwritable disk and exhausted memory into a UserError.

    Other errors pass unchanged.

    Args:
        folder: where the run writes.
        micro_batch_size: images on one device at once.
    """
    try:
        yield
    except Exception as error:
        if _is_disk_full(error):
            raise UserError(
                f"the disk of {folder} is full; nothing recorded is lost: "
                "free some space and run the same command again"
            ) from error
        if (path := _unwritable(error, folder)) is not None:
            raise UserError(
                f"cannot write {path}; what was recorded is safe: "
                "make it writable and run the same command again"
            ) from error
        if is_out_of_memory(error):
            raise UserError(
                f"the device has no memory for {micro_batch_size} images at once; set "
                "device_batch_size to less, which leaves the batch size of the experiment as it is"
            ) from error
        raise


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _unwritable(error: Exception, folder: Path) -> Path | None:
    """Return the file in `folder` that this process may not write, if that is the error."""
    denied = (errno.EACCES, errno.EPERM, errno.EROFS)
    if not isinstance(error, OSError) or error.errno not in denied or error.filename is None:
        return None
    path = Path(os.fsdecode(error.filename))
    return path if path.is_relative_to(folder) else None


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory of the host or the device is exhausted."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
