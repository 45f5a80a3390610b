"""What a run did: one row a step and one row an epoch, on local disk, complete without any server."""

from __future__ import annotations

import math
import os
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from torch import Tensor

STEP_COLUMNS = ["step", "epoch", "samples", "loss", "learning_rate", "grad_norm_sq", "seconds"]
EPOCH_COLUMNS = ["epoch", "step", "samples", "test_loss", "test_accuracy", "seconds"]


class Recorder:
    """Gathers rows and writes them as `steps.parquet` and `epochs.parquet` in the run's folder.

    A step's numbers stay on the device until a block of them is fetched at once, so that recording does not make the
    device wait. Files are written under another name and renamed: a reader never sees half of one.
    """

    BLOCK_ROWS, BLOCK_SECONDS, SAVE_SECONDS = 50, 0.5, 30.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []
        self.start = self._fetched = self._saved = perf_counter()
        self._waiting: list[tuple[int, int, int, float]] = []
        self._numbers: list[Tensor] = []

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return perf_counter() - self.start

    def step(self, step: int, epoch: int, samples: int, loss: Tensor, rate: Tensor | float, norm_sq: Tensor) -> bool:
        """Take one step's numbers (0-dim tensors on the device); True once a block is full and should be fetched."""
        rate = rate if isinstance(rate, Tensor) else torch.full((), rate, dtype=torch.float64)
        self._waiting.append((step, epoch, samples, self.seconds))
        self._numbers.append(torch.stack([x.detach().to(loss.device, torch.float64) for x in (loss, rate, norm_sq)]))
        return len(self._waiting) >= self.BLOCK_ROWS or perf_counter() - self._fetched > self.BLOCK_SECONDS

    def fetch(self) -> tuple[list[dict[str, Any]], bool]:
        """The rows since the last call, now on the host, and whether the run has diverged (its loss is not finite).

        The rows of a diverged run end with the first such loss, however many steps the block held after it.
        """
        block: list[dict[str, Any]] = []
        diverged = False
        if self._waiting:
            numbers = torch.stack(self._numbers).tolist()
            for (step, epoch, samples, seconds), (loss, rate, norm_sq) in zip(self._waiting, numbers, strict=True):
                values = (step, epoch, samples, loss, rate, norm_sq, seconds)
                block.append(dict(zip(STEP_COLUMNS, values, strict=True)))
                if diverged := not math.isfinite(loss):
                    break
        self._waiting, self._numbers, self._fetched = [], [], perf_counter()
        self.steps += block
        if perf_counter() - self._saved > self.SAVE_SECONDS:
            self.save()
        return block, diverged

    def epoch(self, epoch: int, step: int, samples: int, test_loss: float, test_accuracy: float) -> dict[str, Any]:
        """Take the test metrics after `epoch` finished epochs; returns the row."""
        values = (epoch, step, samples, test_loss, test_accuracy, self.seconds)
        self.epochs.append(dict(zip(EPOCH_COLUMNS, values, strict=True)))
        return self.epochs[-1]

    def save(self) -> None:
        write_parquet(pd.DataFrame(self.steps, columns=STEP_COLUMNS), self.folder / "steps.parquet")
        write_parquet(pd.DataFrame(self.epochs, columns=EPOCH_COLUMNS), self.folder / "epochs.parquet")
        self._saved = perf_counter()


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write all of it or nothing."""
    part = path.with_name(path.name + ".part")
    table.to_parquet(part, index=False)
    os.replace(part, path)


def write_text(text: str, path: Path) -> None:
    """Write all of it or nothing."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)
