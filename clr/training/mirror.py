"""Mirrors of a run's records in other tools. The local records are complete without them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, Self

from clr.config import TrainConfig
from clr.training.tensorboard_mirror import TensorBoardMirror
from clr.training.wandb_mirror import WandbMirror


class Mirror(Protocol):
    """A copy of the records elsewhere. A context manager: the mirror is complete at its exit."""

    def log(self, row: dict[str, Any], prefix: str) -> None:
        """Show one row, which has a column `step`, as `prefix/COLUMN`. Steps do not decrease."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None: ...


class NoMirror:
    """A mirror that shows nothing."""

    def log(self, row: dict[str, Any], prefix: str) -> None:
        pass

    def __enter__(self) -> NoMirror:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        pass


def open_mirror(cfg: TrainConfig, name: str, folder: Path, enabled: bool) -> Mirror:
    """The mirror that the config asks for.

    Args:
        name: of the run.
        folder: the run's folder, which gets the mirror's files.
        enabled: True on rank 0 only.

    Raises:
        UserError: if the mirror's package is not installed.
    """
    if enabled and cfg.mirror == "tensorboard":
        return TensorBoardMirror(folder)
    if not enabled or cfg.wandb.mode == "disabled":
        return NoMirror()
    return WandbMirror(cfg.wandb, name, asdict(cfg), folder)
