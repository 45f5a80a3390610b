"""Atomic file writes: a reader sees the whole new file or the whole old one, also after a crash."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file next to `path` for bytes; rename it to `path` if the block succeeds.

    The content is flushed to the disk before the rename. If the block raises, `path` is unchanged.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the rename must not reach the disk before the content
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_bytes(content: bytes, path: Path) -> None:
    """Write `content` to `path` atomically."""
    with atomic_write(path) as file:
        file.write(content)


def move_folder(source: Path, target: Path) -> bool:
    """Rename a folder; return False, and leave it, if `target` is a folder that is not empty."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def write_text(text: str, path: Path) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    write_bytes(text.encode(), path)


def write_json(content: Any, path: Path) -> None:
    """Write `content` to `path` atomically, as indented JSON (see `to_json`)."""
    write_text(to_json(content, indent=1), path)


def to_json(content: Any, indent: int | None = None) -> str:
    """Encode `content` as strict JSON, which has no NaN and no infinity: both become null."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def null_to_nan(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Replace null by NaN in a mapping of numbers that was read from JSON."""
    return {key: math.nan if value is None else value for key, value in numbers.items()}


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write `table` to `path` atomically, without its index."""
    with atomic_write(path) as file:
        table.to_parquet(file, index=False)


def _finite(content: Any) -> Any:
    """Copy nested dicts and lists with None in place of every float that is not finite."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
