"""Atomic file writes: a reader sees the whole new file or the old one, also after a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for writing in bytes, and rename it to `path` when the block succeeds.

    The content is flushed to the disk before the rename. If the block raises, `path` keeps its old content.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(content: bytes, path: Path) -> None:
    """Write `content` to `path` atomically."""
    with atomic_write(path) as file:
        file.write(content)


def write_text(text: str, path: Path) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    write_bytes(text.encode(), path)


def write_json(content: Any, path: Path) -> None:
    """Write `content` to `path` atomically, as indented JSON."""
    write_text(json.dumps(content, indent=1), path)


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write `table` to `path` atomically, without its index."""
    with atomic_write(path) as file:
        table.to_parquet(file, index=False)
