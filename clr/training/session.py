"""One session of a run, from its start or resumption to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import SoftFileLease
from torch import nn

from clr.config import TrainConfig
from clr.errors import Busy
from clr.runs.store import Store
from clr.training.checkpoint import Checkpoints
from clr.training.corridor_meter import CorridorMeter
from clr.training.distributed import Ranks
from clr.training.mirror import Mirror, open_mirror
from clr.training.optimizers import needs_curvature
from clr.training.position import Position
from clr.training.progress import Progress
from clr.training.recorder import Recorder
from clr.training.run_state import RunState
from clr.training.schedules import Schedule
from clr.training.setup import Setup
from clr.training.signals import StopSignal


@dataclass(frozen=True)
class RunClaim:
    """The right to train one run, on all ranks."""

    name: str
    folder: Path
    lock: SoftFileLease | None  # held by rank 0
    stop: StopSignal

    def check_lock(self) -> None:
        """Raise Busy if another process took the run over while this one was suspended."""
        if self.lock is not None and self.lock.compromise is not None:
            raise Busy(
                f"{self.name} was taken over by another process while this one was suspended"
            )


@dataclass(frozen=True)
class Session:
    """Objects that the training loop uses in addition to its `Setup`."""

    claim: RunClaim
    start: Position
    network: nn.Module  # the model, wrapped for several ranks; compiled if the config says so
    state: RunState
    schedule: Schedule
    recorder: Recorder
    meter: CorridorMeter
    mirror: Mirror
    progress: Progress

    def flush_records(self) -> bool:
        """Fetch the recorded steps, show them, and return whether the last of them diverged.

        The host waits for the device. All ranks call this after the same step.
        """
        block = self.recorder.fetch()
        for kind, row in block.rows:
            self.mirror.log(row, kind)
        if block.rows:
            self.progress.update(block.rows[-1][1])
        return block.diverged


@contextmanager
def open_session(
    cfg: TrainConfig, setup: Setup, claim: RunClaim, ranks: Ranks
) -> Iterator[Session]:
    """Restore the run from its newest checkpoint, if any, and open its records and mirrors."""
    recorder = Recorder(claim.folder, ranks)
    folder = Store(cfg.store).checkpoint_folder(claim.name)
    checkpoints = Checkpoints(folder, cfg.checkpoint.keep)
    state = RunState(setup.model, setup.optimizer, recorder, checkpoints, ranks)
    start = state.restore()
    steps = cfg.epochs * setup.train_data.steps_per_epoch
    schedule = Schedule(cfg.optimizer, setup.optimizer, steps, start.step)

    # The meter copies the model before it is wrapped and compiled.
    every, gives_curvature = cfg.diagnostics.every, needs_curvature(setup.optimizer)
    meter = CorridorMeter(setup.model, every, setup.compute, ranks, gives_curvature)
    network = ranks.wrap(setup.model)
    if cfg.compile:
        network.compile()

    main_folder = claim.folder if ranks.is_main else None
    with ExitStack() as stack:
        mirror = stack.enter_context(open_mirror(cfg, claim.name, claim.folder, ranks.is_main))
        # A session that was killed may not have shown all its steps, and W&B drops those that it
        # has: each session shows the run from its first step.
        for kind, row in recorder.rows():
            mirror.log(row, kind)
        progress = stack.enter_context(Progress(claim.name, steps, main_folder, cfg.progress))
        yield Session(claim, start, network, state, schedule, recorder, meter, mirror, progress)
