"""Offline files of W&B: a LevelDB log whose records are messages of the schema that wandb ships."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

FILE_HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
BLOCK_BYTES, CHUNK_HEADER = 32768, struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def payloads(content: bytes) -> Iterator[bytes]:
    """The records of a log. One that a killed process left unfinished at the end is left out."""
    assert content.startswith(FILE_HEADER), content[:7]
    position, record = len(FILE_HEADER), b""
    while position + CHUNK_HEADER.size <= len(content):
        room = BLOCK_BYTES - position % BLOCK_BYTES
        if room < CHUNK_HEADER.size:  # the rest of a block is padded with zeros
            position += room
            continue
        _, length, kind = CHUNK_HEADER.unpack_from(content, position)
        position += CHUNK_HEADER.size
        chunk = content[position : position + length]
        position += length
        if kind not in (FULL, FIRST, MIDDLE, LAST) or len(chunk) < length:
            return
        record = chunk if kind in (FULL, FIRST) else record + chunk
        if kind in (FULL, LAST):
            yield record


def records(path: Path) -> list[Record]:
    return [Record.FromString(payload) for payload in payloads(path.read_bytes())]


def history(path: Path) -> dict[int, dict[str, float]]:
    """The logged values by step and key. Each step has one row."""
    rows: dict[int, dict[str, float]] = {}
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            step = record.history.step.num
            assert step not in rows, f"two rows of step {step} in {path}"
            rows[step] = {
                item.key or item.nested_key[0]: value(item) for item in record.history.item
            }
    return rows


def value(item) -> float:
    return json.loads(item.value_json) if item.value_json else float("nan")


def exit_code(path: Path) -> int:
    """The exit code of the session, which W&B shows as finished or failed."""
    (ended,) = [r.exit for r in records(path) if r.WhichOneof("record_type") == "exit"]
    return ended.exit_code


def offline_files(folder: Path) -> list[Path]:
    """The files of a run's sessions, oldest first."""
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"))
