"""Exhausted disk and memory, reported as errors that a user can fix."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clr.errors import UserError

# PyTorch raises a plain RuntimeError for most of these. They are matched in lower case.
_OUT_OF_MEMORY_MESSAGES = (
    "can't allocate memory",  # the CPU allocator
    "cannot allocate memory",  # ENOMEM, for example from mmap
    "not enough memory",  # the CPU allocator on Windows
    "cuda out of memory",
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cufft_alloc_failed",
)


@contextmanager
def explain_resource_errors(folder: Path, micro_batch_size: int) -> Iterator[None]:
    """Turn a full disk and exhausted memory into a UserError; other errors pass unchanged.

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
        if _is_out_of_memory(error):
            raise UserError(
                f"the device has no memory for {micro_batch_size} images at once; set "
                "device_batch_size to less, which leaves the batch size of the experiment as it is"
            ) from error
        raise


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        known in message for known in _OUT_OF_MEMORY_MESSAGES
    )
