"""Training of one run. Read it from top to bottom:

    train                     lock the run, resume it, train it, store its result
    Trainer.run               loop over epochs
    Trainer.train_epoch       loop over steps
    Trainer.train_step        gradients, optimizer step, records
    Trainer.accumulate_gradients    forward and backward passes of the micro-batches

The host queues work for the device and waits for it only where a comment says so: when records are
flushed (about twice a second), and in evaluations and checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from clr.config import TrainConfig
from clr.data import DatasetInfo
from clr.data.loaders import Batch
from clr.errors import Stopped
from clr.runs.identity import run_id
from clr.runs.status import RunStatus
from clr.runs.store import Store
from clr.training.device import cpu_threads
from clr.training.distributed import Ranks
from clr.training.evaluation import evaluate
from clr.training.model_check import check_model
from clr.training.modes import has_modes, set_optimizer_mode
from clr.training.optimizers import check_optimizer, take_step
from clr.training.recorder import StepNumbers
from clr.training.resource_errors import explain_resource_errors
from clr.training.result import run_record
from clr.training.session import RunClaim, Session, open_session
from clr.training.setup import Setup, build_setup
from clr.training.signals import StopSignal
from clr.training.statistics import refresh_statistics


def train(
    cfg: TrainConfig, info: DatasetInfo, ranks: Ranks | None = None, patience: float | None = None
) -> dict[str, Any]:
    """Return the content of the run's run.json, as `train_unless_completed` does."""
    return train_unless_completed(cfg, info, ranks, patience)[0]


def train_unless_completed(
    cfg: TrainConfig, info: DatasetInfo, ranks: Ranks | None = None, patience: float | None = None
) -> tuple[dict[str, Any], bool]:
    """Train the run `cfg` on the prepared data `info`, unless the store has its result.

    All ranks call this together. An interrupted run resumes from its newest checkpoint.

    Args:
        ranks: None is this process alone.
        patience: seconds to wait for another process that trains the run; None waits until it is
            known whether that process is alive, at most 30 s (`Store.claim`).

    Returns:
        The content of the run's run.json, and whether this call trained the run.

    Raises:
        Stopped: after a checkpoint, when a signal asked for that.
        Busy: if another process is still training the run after `patience` seconds.
        UserError: for a config that cannot be run, and for exhausted disk or memory.
    """
    ranks = ranks or Ranks()
    with_curvature = check_optimizer(cfg.optimizer)
    check_model(cfg, len(info.classes), with_curvature)
    store, name = Store(cfg.store), run_id(cfg, info.fingerprint)
    if (result := ranks.broadcast(lambda: store.completed(name, cfg))) is not None:
        return result, False

    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        stack.enter_context(cpu_threads(cfg.threads))
        setup = build_setup(cfg, info, ranks)

        # Lock the run. Another process may have finished it while this one waited for the lock.
        lock = stack.enter_context(store.claim(name, patience)) if ranks.is_main else None
        if (result := ranks.broadcast(lambda: store.completed(name, cfg))) is not None:
            return result, False
        folder = ranks.broadcast(lambda: store.begin(name, cfg, info.fingerprint))
        claim = RunClaim(name, folder, lock, stop)

        # Resume and train.
        micro_batch_size = setup.division.micro_batch_size
        stack.enter_context(explain_resource_errors(folder, micro_batch_size))
        session = stack.enter_context(open_session(cfg, setup, claim, ranks))
        status = Trainer(cfg, setup, session, ranks).run()

        # Store the result.
        claim.check_lock()
        session.recorder.save()

        def finish() -> dict[str, Any]:
            record = run_record(name, status, cfg, info, setup, session.recorder)
            store.finish(name, record)
            return record

        return ranks.broadcast(finish), True


class _Diverged(Exception):
    """A recorded loss is infinite or NaN. Raised once, on all ranks; ends the run as diverged."""


class Trainer:
    """The training loop of one run, on one of its ranks."""

    def __init__(self, cfg: TrainConfig, setup: Setup, session: Session, ranks: Ranks) -> None:
        self.cfg = cfg
        self.setup = setup
        self.session = session
        self.ranks = ranks
        self.position = session.start
        self.last_checkpoint = perf_counter()

    def run(self) -> RunStatus:
        """Train from the session's start to the last epoch; return how the run ended."""
        try:
            while self.position.epoch < self.cfg.epochs:
                self.train_epoch()
                self.evaluate_epoch()
        except _Diverged:
            return RunStatus.DIVERGED
        return RunStatus.FINISHED

    def train_epoch(self) -> None:
        """Train for the steps of the current epoch that are not done."""
        self.setup.model.train()
        set_optimizer_mode(self.setup.optimizer, training=True)
        data, start = self.setup.train_data, self.position
        with closing(data.epoch(self.cfg.seed, start.epoch, start.batch)) as batches:
            while self.position.batch < data.steps_per_epoch:
                self.train_step(batches)
                self.between_steps()
        self.flush_records()

    def train_step(self, batches: Iterator[Batch]) -> None:
        """Take one optimizer step on the global batch. The host does not wait for the device."""
        # 1. Gradients of the whole batch, averaged over the ranks.
        loss = self.accumulate_gradients(batches)

        # 2. The step, between the two halves of the corridor meter.
        curvature = self.session.meter.before_step(loss)
        rate, norm_sq = take_step(self.setup.optimizer, loss, self.ranks, curvature)
        measures = self.session.meter.after_step(rate)

        self.session.schedule.after_step()

        # 3. The records, which stay on the device for now.
        self.position = self.position.after_step(self.cfg.batch_size)
        result = StepNumbers(loss, rate, norm_sq, measures)
        self.session.recorder.record_step(self.position, result)

    def accumulate_gradients(self, batches: Iterator[Batch]) -> Tensor:
        """Run forward and backward passes on the micro-batches of one step.

        Gradients accumulate on each rank; the last backward pass averages them over the ranks.

        Returns:
            The mean loss over this rank's images, 0-dim on the device.
        """
        setup, compute, network = self.setup, self.setup.compute, self.session.network
        steps = setup.division.grad_accum_steps
        loss = torch.zeros((), device=compute.device, dtype=compute.dtype)
        for micro_step in range(steps):
            # 1. Load a micro-batch, copy it to the device and augment it there.
            batch = next(batches)
            images = setup.transform.train(
                compute.to_device(batch.images), batch.ids, self.cfg.seed, self.position.epoch
            ).to(compute.dtype)
            labels = compute.to_device(batch.labels)
            self.session.meter.keep_micro_batch(self.position.step, images, labels)

            with self.ranks.no_sync(network, when=micro_step < steps - 1):
                # 2. Forward pass.
                with compute.autocast():
                    micro_loss = cross_entropy(network(images), labels) / steps

                # 3. Backward pass. Old gradients are freed after the forward pass, not before it:
                #    the CPU's allocator is then 2 % faster.
                if micro_step == 0:
                    setup.optimizer.zero_grad()
                micro_loss.backward()
            loss += micro_loss.detach()
        return loss

    def between_steps(self) -> None:
        """Flush the records, write a checkpoint or stop, if that is due on any rank."""
        stop = self.session.claim.stop
        age = perf_counter() - self.last_checkpoint
        stopping, saving, flushing = self.ranks.any_rank(
            stop.received is not None,
            age > self.cfg.checkpoint.seconds,
            self.session.recorder.is_due,
        )
        if not (stopping or saving or flushing):
            return
        self.session.claim.check_lock()
        self.flush_records()
        if stopping or saving:
            self.check_ranks()
            self.session.state.save(self.position)  # the host waits for the device
            self.last_checkpoint = perf_counter()
        if stopping:
            total = self.cfg.epochs * self.setup.train_data.steps_per_epoch
            name = self.session.claim.name
            raise Stopped(
                f"{name} stopped after step {self.position.step} of {total}", stop.received
            )

    def evaluate_epoch(self) -> None:
        """Evaluate the model after an epoch, and record the result."""
        self.check_ranks()
        set_optimizer_mode(self.setup.optimizer, training=False)
        if has_modes(self.setup.optimizer):
            refresh_statistics(self.setup, self.cfg.seed, self.position.epoch)
        metrics = evaluate(self.setup, self.ranks)  # the host waits for the device
        self.position = self.position.next_epoch()
        row = self.session.recorder.record_epoch(self.position, metrics)
        self.session.mirror.log(row, "test")

    def flush_records(self) -> None:
        """Fetch and show the recorded steps; raise _Diverged if the last of them diverged."""
        if self.session.flush_records():  # the host waits for the device
            raise _Diverged

    def check_ranks(self) -> None:
        """Check that all ranks have the same parameters."""
        parameters = self.setup.model.named_parameters()
        self.ranks.require_equal(parameters, f"after step {self.position.step}")
