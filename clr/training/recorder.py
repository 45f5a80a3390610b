"""What a run did: a row a step, a row an epoch, a row a measured step, on local disk, complete without any server."""

from __future__ import annotations

import math
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from clr.errors import UserError
from clr.files import write_parquet
from clr.runs.columns import EPOCH_COLUMNS, METER_COLUMNS, STEP_COLUMNS
from clr.training.distributed import Ranks


class Recorder:
    """Gathers rows and writes them as `steps.parquet` and `epochs.parquet` in the run's folder, and `corridor_meter.parquet`.

    The last has the steps that the corridor meter measured (clr.training.corridor_meter); a run without it has no such file.

    A step's numbers stay on the device until a block of them is fetched at once, so that recording does not make the
    device wait; only then are the ranks' losses averaged. Rank 0 alone writes.
    """

    BLOCK_ROWS, BLOCK_SECONDS = 50, 0.5

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self.folder = folder
        self.steps: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []
        self.meter: list[dict[str, Any]] = []
        self._ranks = ranks
        self._start = self._fetched = perf_counter()
        self._waiting: list[tuple[int, int, int, float]] = []
        self._numbers: list[Tensor] = []
        self._measured: dict[int, Tensor] = {}  # by step

    @property
    def seconds(self) -> float:
        """Since the run began, without the time between a checkpoint and its resumption."""
        return perf_counter() - self._start

    @property
    def due(self) -> bool:
        """Whether a block is full and should be fetched."""
        return (
            len(self._waiting) >= self.BLOCK_ROWS
            or perf_counter() - self._fetched > self.BLOCK_SECONDS
        )

    def step(
        self,
        step: int,
        epoch: int,
        samples: int,
        loss: Tensor,
        rate: Tensor | float,
        norm_sq: Tensor,
        measures: dict[str, Tensor] | None,
    ) -> None:
        """Take one step's numbers: 0-dim tensors on the device, `loss` the mean over this rank's images.

        `measures` are the meter's, the same on all ranks; None of a step that was not measured.
        """
        if not isinstance(rate, Tensor):
            rate = torch.full(
                (), rate, dtype=torch.float64, device=loss.device
            )  # made there: a copy would wait
        self._waiting.append((step, epoch, samples, self.seconds))
        self._numbers.append(
            torch.stack([x.detach().to(loss.device, torch.float64) for x in (loss, rate, norm_sq)])
        )
        if measures is not None:
            self._measured[step] = torch.stack([measures[column] for column in METER_COLUMNS[3:]])

    def fetch(self) -> tuple[list[tuple[str, dict[str, Any]]], bool]:
        """The rows since the last call, now on the host, and whether the run has diverged (its loss is not finite).

        Each row comes with its kind: "train" or, before that of the same step, "corridor_meter". To be called by all ranks after
        the same step. The rows of a diverged run end with the first such loss, however many steps the block held after.
        """
        block: list[tuple[str, dict[str, Any]]] = []
        diverged = False
        if self._waiting:
            numbers = torch.stack(self._numbers)
            losses = self._ranks.mean(numbers[:, 0].contiguous())
            for (step, epoch, samples, seconds), loss, (_, rate, norm_sq) in zip(
                self._waiting, losses.tolist(), numbers.tolist(), strict=True
            ):
                if step in self._measured:
                    measures = (step, epoch, samples, *self._measured[step].tolist())
                    self.meter.append(dict(zip(METER_COLUMNS, measures, strict=True)))
                    block.append(("corridor_meter", self.meter[-1]))
                values = (step, epoch, samples, loss, rate, norm_sq, seconds)
                self.steps.append(dict(zip(STEP_COLUMNS, values, strict=True)))
                block.append(("train", self.steps[-1]))
                if diverged := not math.isfinite(loss):
                    break
        self._waiting, self._numbers, self._measured, self._fetched = [], [], {}, perf_counter()
        return block, diverged

    def epoch(
        self, epoch: int, step: int, samples: int, metrics: tuple[float, float, float]
    ) -> dict[str, Any]:
        """Take the test loss, accuracy and top-5 accuracy after `epoch` finished epochs; returns the row."""
        values = (epoch, step, samples, *metrics, self.seconds)
        self.epochs.append(dict(zip(EPOCH_COLUMNS, values, strict=True)))
        return self.epochs[-1]

    def save(self) -> None:
        if self._ranks.is_main:
            write_parquet(
                pd.DataFrame(self.steps, columns=STEP_COLUMNS), self.folder / "steps.parquet"
            )
            write_parquet(
                pd.DataFrame(self.epochs, columns=EPOCH_COLUMNS), self.folder / "epochs.parquet"
            )
            if self.meter:
                write_parquet(
                    pd.DataFrame(self.meter, columns=METER_COLUMNS),
                    self.folder / "corridor_meter.parquet",
                )

    def length(self) -> dict[str, int | float]:
        """What a checkpoint must know to go on with these records."""
        lengths = {
            "steps": len(self.steps),
            "epochs": len(self.epochs),
            "corridor_meter": len(self.meter),
        }
        return {**lengths, "seconds": self.seconds}

    def restore(self, length: dict[str, Any]) -> None:
        """Read what was saved, cut to what it was at a checkpoint: later rows will be made again."""
        if self._ranks.is_main:
            self.steps = self._read("steps", int(length["steps"]))
            self.epochs = self._read("epochs", int(length["epochs"]))
            # Checkpoints from before there was a meter say nothing of it.
            self.meter = (
                self._read("corridor_meter", rows)
                if (rows := int(length.get("corridor_meter", 0)))
                else []
            )
        self._start = perf_counter() - length["seconds"]

    def _read(self, name: str, rows: int) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.parquet"
        try:
            table = pd.read_parquet(path).head(rows)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is damaged ({error}); delete the folder {self.folder}"
            ) from None
        if len(table) < rows:
            raise UserError(
                f"{path} has {len(table)} rows, its checkpoint {rows}; delete the folder {self.folder}"
            )
        read: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
        return read
