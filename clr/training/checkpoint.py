"""Checkpoints of a run that is not completed: atomic writes, checked reads, the newest few kept."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clr.errors import UserError, first_line
from clr.files import atomic_write

# NumPy scalars and arrays, which some optimizers keep in their state. They hold data and no code.
_SAFE_GLOBALS = [
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    np.ndarray,
    np.dtype,
    *{
        type(np.dtype(kind))
        for kind in (np.bool_, *np.sctypeDict.values())
        if kind is not np.object_
    },
]
_DIGEST_BYTES = hashlib.sha256().digest_size


class Checkpoints:
    """The files `step-N.pt` in one folder: what torch.save writes, and its SHA-256 at the end.

    Args:
        folder: created by the first `save`.
        keep: number of newest checkpoints to keep.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        self._verified = False

    def save(self, step: int, content: dict[str, Any]) -> None:
        """Write tensors and plain values as they are after `step`; delete the oldest checkpoints.

        The first one is read back before it is written: a state that cannot be restored ends the
        run now instead of at its resumption.

        Raises:
            UserError: if `content` holds values that cannot be pickled, or that
                `torch.load(weights_only=True)` refuses.
            OSError: if the disk is full; the older checkpoints are kept.
        """
        packed = _pack(content)
        if not self._verified:
            _verify_readable(packed)
            self._verified = True
        self.folder.mkdir(exist_ok=True)
        written = self.folder / f"step-{step:09d}.pt"
        with atomic_write(written) as file:
            file.write(packed.getbuffer())
            file.write(_digest(packed.getbuffer()))
        others = [path for path in self._paths() if path != written]
        interrupted = self.folder.glob("*.part")  # by a kill during an earlier write
        for path in [*others[self.keep - 1 :], *interrupted]:
            path.unlink()

    def newest(self) -> dict[str, Any] | None:
        """Load the newest readable checkpoint to the CPU; return None if there are no checkpoints.

        Damaged files are renamed to `step-N.pt.damaged` and reported. A file that the system does
        not let this process read may be intact: it stays as it is.

        Raises:
            UserError: if there are checkpoints, but none of them can be read, or if the system
                cannot read the newest one.
        """
        for path in self._paths():
            packed = _read(path)
            if packed is None:
                path.rename(path.with_name(path.name + ".damaged"))
                _warn(f"checkpoint {path} is damaged; trying the one before it")
                continue
            try:
                return _load(packed)
            except pickle.UnpicklingError as error:
                _warn(f"checkpoint {path} is refused: {_refusal(error)}; trying the one before it")
        if any(self._paths()) or any(self.folder.glob("*.damaged")):
            raise UserError(
                f"none of the checkpoints in {self.folder} can be read; "
                "delete that folder to start the run from its first step"
            )
        return None

    def _paths(self) -> list[Path]:
        """Return the checkpoints, newest first; from step 10⁹ on, names are longer."""
        paths = self.folder.glob("step-*.pt")
        return sorted(paths, key=lambda path: (len(path.name), path.name), reverse=True)


def _pack(content: dict[str, Any]) -> io.BytesIO:
    """Pack a checkpoint in memory, because torch.save to a full disk raises no OSError."""
    packed = io.BytesIO()
    try:
        torch.save(content, packed)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise _not_restorable(first_line(error)) from None
    return packed


def _read(path: Path) -> io.BytesIO | None:
    """Return what was packed into the file; None if its checksum differs.

    The checksums that torch.save writes do not cover the table of contents: a bit that changes
    there makes torch.load fail in many ways, or return other numbers.

    Raises:
        UserError: if the system cannot read it.
    """
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"checkpoint {path} cannot be read: {error.strerror or error}; make it readable, or "
            "delete it to resume from the one before it"
        ) from None
    packed, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return io.BytesIO(packed) if digest == _digest(packed) else None


def _digest(packed: memoryview) -> bytes:
    return hashlib.sha256(packed).digest()


def _load(packed: io.BytesIO) -> dict[str, Any]:
    """Read tensors and plain values; code is refused with an UnpicklingError."""
    packed.seek(0)
    with torch.serialization.safe_globals(_SAFE_GLOBALS):
        content: dict[str, Any] = torch.load(packed, map_location="cpu", weights_only=True)
    return content


def _verify_readable(packed: io.BytesIO) -> None:
    try:
        _load(packed)
    except pickle.UnpicklingError as error:
        raise _not_restorable(_refusal(error)) from None


def _not_restorable(reason: str) -> UserError:
    return UserError(
        f"the state of this run cannot be restored from a checkpoint: {reason}; use an optimizer "
        "and a model whose state_dict() holds only tensors and plain Python values"
    )


def _refusal(error: pickle.UnpicklingError) -> str:
    """Summarize the page of text that `torch.load(weights_only=True)` raises."""
    unsupported = re.search(r"unsupported (?:global: )?GLOBAL (\S+)", str(error), re.I)
    return f"it contains a {unsupported[1]}" if unsupported else first_line(error)


def _warn(message: str) -> None:
    print(message, file=sys.stderr)
