"""Records of a run on the local disk: one row per step, per epoch and per measured step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from clr.errors import UserError
from clr.files import write_parquet
from clr.runs.columns import EPOCH_COLUMNS, METER_COLUMNS, STEP_COLUMNS
from clr.runs.status import is_divergent
from clr.training.distributed import Ranks
from clr.training.position import Position
from clr.training.rows import Row, Rows

_MEASURES = METER_COLUMNS[3:]
_NEW_COLUMNS = {"test_top5_accuracy"}  # the records of a run that was begun before may lack these

RowKind = Literal["train", "corridor_meter", "test"]


@dataclass(frozen=True)
class StepNumbers:
    """Results of one step, still on the device: 0-dim tensors."""

    loss: Tensor  # mean over this rank's images
    learning_rate: Tensor | float
    grad_norm_sq: Tensor
    measures: dict[str, Tensor] | None  # of the corridor meter; None if it skipped the step


@dataclass(frozen=True)
class EvalMetrics:
    """Means over the test split."""

    loss: float  # cross-entropy in nats
    accuracy: float  # 0 to 1
    top5_accuracy: float  # 0 to 1


@dataclass(frozen=True)
class Block:
    """Rows of consecutive steps, in their order; a measured step has two."""

    rows: list[tuple[RowKind, Row]]
    diverged: bool  # the last row is that of a divergent step


@dataclass(frozen=True)
class _PendingStep:
    """A step whose numbers have not been fetched from the device."""

    position: Position  # after the step
    seconds: float
    numbers: Tensor  # loss, learning rate, ‖g‖²: shape (3,)
    measures: Tensor | None  # in the order of `_MEASURES`


class Recorder:
    """Collects rows and writes steps.parquet, epochs.parquet and corridor_meter.parquet.

    The last file exists only if the corridor meter measured a step. A step's numbers stay on the
    device until a block of them is fetched, so that recording does not make the host wait at every
    step. Losses are averaged over the ranks then. Rank 0 alone writes.
    """

    BLOCK_ROWS, BLOCK_SECONDS = 50, 0.5

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self.folder = folder
        self.steps = Rows(STEP_COLUMNS)
        self.epochs = Rows(EPOCH_COLUMNS)
        self.meter = Rows(METER_COLUMNS)
        self._ranks = ranks
        self._start = self._last_fetch = perf_counter()
        self._pending: list[_PendingStep] = []

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without those between a checkpoint and its resumption."""
        return perf_counter() - self._start

    @property
    def is_due(self) -> bool:
        """True if a block is full or old enough to be fetched."""
        full = len(self._pending) >= self.BLOCK_ROWS
        return full or perf_counter() - self._last_fetch > self.BLOCK_SECONDS

    def record_step(self, position: Position, result: StepNumbers) -> None:
        """Add a step, without waiting for the device.

        Args:
            position: after the step, with the epoch that the step belongs to.
        """
        device, rate = result.loss.device, result.learning_rate
        if not isinstance(rate, Tensor):
            # Created on the device, because the host would wait for a copy.
            rate = torch.full((), rate, dtype=torch.float64, device=device)
        numbers = [
            number.detach().to(device, torch.float64)
            for number in (result.loss, rate, result.grad_norm_sq)
        ]
        measures = None
        if result.measures is not None:
            measures = torch.stack([result.measures[column] for column in _MEASURES])
        step = _PendingStep(position, self.seconds, torch.stack(numbers), measures)
        self._pending.append(step)

    def fetch(self) -> Block:
        """Move the pending steps into the records. The host waits for the device.

        All ranks call this after the same step. If a step diverged, it is the last one recorded:
        later steps of the block are dropped.
        """
        rows: list[tuple[RowKind, Row]] = []
        diverged = False
        if self._pending:
            numbers = torch.stack([step.numbers for step in self._pending])
            losses = self._ranks.mean(numbers[:, 0].contiguous()).tolist()
            rates_and_norms = numbers[:, 1:].tolist()
            for step, loss, (rate, norm_sq) in zip(
                self._pending, losses, rates_and_norms, strict=True
            ):
                position = step.position
                counts = (position.step, position.epoch, position.samples)
                if step.measures is not None:
                    values = (*counts, *step.measures.tolist())
                    row = dict(zip(METER_COLUMNS, values, strict=True))
                    self.meter.append(row)
                    rows.append(("corridor_meter", row))
                values = (*counts, loss, rate, norm_sq, step.seconds)
                row = dict(zip(STEP_COLUMNS, values, strict=True))
                self.steps.append(row)
                rows.append(("train", row))
                if diverged := is_divergent(loss):
                    break
        self._pending, self._last_fetch = [], perf_counter()
        return Block(rows, diverged)

    def record_epoch(self, position: Position, metrics: EvalMetrics) -> Row:
        """Add the test results after an epoch; return the row.

        Args:
            position: at the start of the next epoch.
        """
        row = {
            "epoch": position.epoch,
            "step": position.step,
            "samples": position.samples,
            "test_loss": metrics.loss,
            "test_accuracy": metrics.accuracy,
            "test_top5_accuracy": metrics.top5_accuracy,
            "seconds": self.seconds,
        }
        self.epochs.append(row)
        return row

    def rows(self) -> list[tuple[RowKind, Row]]:
        """Return all rows in the order in which they were recorded, with their kinds."""
        kinds: list[tuple[RowKind, Rows]] = [
            ("corridor_meter", self.meter),
            ("train", self.steps),
            ("test", self.epochs),
        ]
        rows = [(kind, row) for kind, own in kinds for row in own.rows()]
        return sorted(rows, key=lambda kind_and_row: kind_and_row[1]["step"])

    def save(self) -> None:
        """Write the records, on rank 0."""
        if not self._ranks.is_main:
            return
        self._write(self.steps, "steps")
        self._write(self.epochs, "epochs")
        if len(self.meter):
            self._write(self.meter, "corridor_meter")

    def length(self) -> dict[str, int | float]:
        """Return what a checkpoint stores to resume these records."""
        return {
            "steps": len(self.steps),
            "epochs": len(self.epochs),
            "corridor_meter": len(self.meter),
            "seconds": self.seconds,
        }

    def restore(self, length: dict[str, Any]) -> None:
        """Read the saved records up to their `length` at a checkpoint; later steps are repeated.

        Raises:
            UserError: if a table is damaged or shorter than that.
        """
        if self._ranks.is_main:
            self._read(self.steps, "steps", int(length["steps"]))
            self._read(self.epochs, "epochs", int(length["epochs"]))
            # Checkpoints that are older than the corridor meter lack its length.
            if measured := int(length.get("corridor_meter", 0)):
                self._read(self.meter, "corridor_meter", measured)
        self._start = perf_counter() - length["seconds"]

    def _write(self, rows: Rows, name: str) -> None:
        write_parquet(rows.table(), self.folder / f"{name}.parquet")

    def _read(self, rows: Rows, name: str, length: int) -> None:
        path = self.folder / f"{name}.parquet"
        fix = f"delete the folder {self.folder} to start the run from its first step"
        try:
            table = pd.read_parquet(path).head(length)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}); {fix}") from None
        if len(table) < length:
            raise UserError(f"{path} has {len(table)} rows, its checkpoint {length}; {fix}")
        if missing := set(rows.columns) - set(table) - _NEW_COLUMNS:
            raise UserError(f"{path} lacks the column {min(missing)}; {fix}")
        rows.replace(table.reindex(columns=rows.columns))
