"""TensorBoard, a mirror of the local records. Only this module knows it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from clr.errors import UserError

FOLDER = "tensorboard"  # in the run's folder


class TensorBoardMirror:
    """Writes rows to an event file (`clr.training.mirror.Mirror`).

    Event files of earlier sessions are deleted: a session logs the run from its first step, and
    TensorBoard would show a step of two files twice.

    Args:
        folder: the run's folder.

    Raises:
        UserError: if the package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            if error.name != "tensorboard":
                raise
            raise UserError(
                "mirror=tensorboard needs the package tensorboard, which is not installed; "
                "run pip install -r requirements-tensorboard.txt, or use mirror=wandb"
            ) from None
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        self._writer = SummaryWriter(str(folder / FOLDER))

    def log(self, row: dict[str, Any], prefix: str) -> None:
        """Write one row; its column `step` becomes TensorBoard's step."""
        for key, value in row.items():
            if key != "step":
                # In the format with float64, because the records have it.
                self._writer.add_scalar(
                    f"{prefix}/{key}", value, row["step"], new_style=True, double_precision=True
                )

    def __enter__(self) -> TensorBoardMirror:
        return self

    def __exit__(self, *details: object) -> None:
        self._writer.close()
