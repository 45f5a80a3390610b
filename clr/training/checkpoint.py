"""Checkpoints of a run that is not finished: whole or absent, checked before they are used, the newest few."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch


class Checkpoints:
    """The files `step-N.pt` in one folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, step: int, content: dict[str, Any]) -> None:
        """Write tensors and plain values as they are after `step`; OSError if the disk is full, the old ones stay."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"step-{step:09d}.pt"
        part = path.with_suffix(".part")
        packed = io.BytesIO()  # torch.save to a full disk would raise no OSError
        torch.save(content, packed)
        try:
            with open(part, "wb") as file:
                file.write(packed.getbuffer())
                file.flush()
                os.fsync(file.fileno())  # a rename must not reach the disk before the content does
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        for old in self._paths()[self.keep :]:
            old.unlink()

    def newest(self) -> dict[str, Any] | None:
        """The content of the newest checkpoint that is undamaged, on the CPU; None if there is none."""
        for path in self._paths():
            try:
                with zipfile.ZipFile(path) as archive:
                    if (bad := archive.testzip()) is not None:
                        raise ValueError(f"the checksum of {bad} differs")
                content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return content
            except Exception as error:  # whatever is wrong with it, an older one may be right
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                print(
                    f"checkpoint {path} is damaged ({reason}); going on from the one before it",
                    file=sys.stderr,
                )
        return None

    def _paths(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)
