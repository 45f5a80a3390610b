"""One training run, from its config to its records."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import asdict
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from clr.config import TrainConfig
from clr.data import DatasetInfo, Transform, open_loader
from clr.data.loaders import BatchLoader
from clr.errors import Busy, Stopped
from clr.runs.provenance import provenance
from clr.runs.store import Store, run_id
from clr.training.checkpoint import Checkpoints
from clr.training.corridor_meter import Meter
from clr.training.device import check_norm, pick_device, set_precision, to
from clr.training.distributed import Ranks, divide
from clr.training.models import build_model
from clr.training.optimizers import build_optimizer, take_step
from clr.training.progress import Progress
from clr.training.recorder import Recorder
from clr.training.resource_errors import explained
from clr.training.run_state import RunState
from clr.training.signals import StopSignal
from clr.training.wandb_mirror import Tracker


def train(
    cfg: TrainConfig, info: DatasetInfo, ranks: Ranks | None = None, patience: float | None = None
) -> dict[str, Any]:
    """Make the run of `cfg` on the prepared data `info` unless the store has it; returns its run.json.

    All ranks call it together. A run that was killed goes on from its newest checkpoint. Raises Stopped, after another
    checkpoint, when a signal asks for that, and Busy if another process trains the run (`patience`: see Store.claim).
    """
    ranks = ranks or Ranks()
    store, name = Store(cfg.store), run_id(cfg, info.fingerprint)
    if (done := ranks.broadcast(lambda: store.completed(name, cfg))) is not None:
        return done

    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        device = pick_device(cfg.device, ranks.local_rank)
        set_precision(cfg.precision, device)
        check_norm(cfg.model.norm, device)
        parts = divide(cfg.batch_size, ranks.world_size, cfg.device_batch_size)
        at_once = cfg.batch_size // ranks.world_size // parts
        where = (cfg.loader, cfg.workers, ranks.rank, ranks.world_size)
        train_data = open_loader(info, "train", cfg.batch_size, *where, parts)
        test_data = open_loader(
            info, "test", cfg.device_batch_size or max(cfg.batch_size, 500), *where
        )
        transform = Transform(info, cfg.dataset.crop_padding, cfg.dataset.flip)
        dtype = torch.float64 if cfg.precision == "fp64" else torch.float32
        model = (
            build_model(cfg.model, len(info.classes), cfg.seed)
            .to(device, dtype)
            .to(memory_format=torch.channels_last)
        )
        optimizer = build_optimizer(cfg.optimizer, model)
        torch.manual_seed(
            cfg.seed * 1000 + ranks.rank
        )  # for models and optimizers that draw at random

        lease = stack.enter_context(store.claim(name, patience)) if ranks.is_main else None
        if (done := ranks.broadcast(lambda: store.completed(name, cfg))) is not None:
            return done  # by another process, in the meantime
        folder = ranks.broadcast(lambda: store.begin(name, cfg, info.fingerprint))
        recorder = Recorder(folder, ranks)
        state = RunState(
            model,
            optimizer,
            recorder,
            Checkpoints(store.checkpoint_folder(name), cfg.checkpoint.keep),
            ranks,
        )
        total = cfg.epochs * train_data.steps_per_epoch
        diverged = False

        stack.enter_context(explained(folder, at_once))
        at = state.restore()
        meter = Meter(model, cfg.diagnostics.every, cfg.precision, device, ranks)
        net = ranks.wrap(model)
        if cfg.compile:
            net.compile()
        tracker = stack.enter_context(
            closing(Tracker(cfg.wandb, name, asdict(cfg), folder, ranks.is_main))
        )
        progress = stack.enter_context(
            Progress(name, total, cfg.progress and ranks.is_main, folder if ranks.is_main else None)
        )

        def show() -> bool:
            """Fetch what was recorded, show it, and tell whether the run has diverged."""
            rows, diverged = recorder.fetch()
            for kind, row in rows:
                tracker.log(row, kind)
            if rows:
                progress.update(rows[-1][1])
            return diverged

        saved = perf_counter()
        while at.epoch < cfg.epochs and not diverged:
            model.train()
            with closing(train_data.epoch(cfg.seed, at.epoch, at.batch)) as batches:
                while at.batch < train_data.steps_per_epoch and not diverged:
                    loss = torch.zeros((), device=device, dtype=dtype)
                    for part in range(1, parts + 1):
                        batch = next(batches)
                        images = transform.train(
                            to(batch.images, device), batch.ids, cfg.seed, at.epoch
                        ).to(dtype)
                        labels = to(batch.labels, device)
                        meter.keep(at.step, images, labels)
                        with ranks.no_sync(net, when=part < parts):
                            with torch.autocast(
                                device.type, torch.bfloat16, enabled=cfg.precision == "bf16"
                            ):
                                part_loss = cross_entropy(net(images), labels) / parts
                            if part == 1:
                                optimizer.zero_grad()  # not before the forward pass: a CPU's allocator takes 2 % longer
                            part_loss.backward()
                        loss += part_loss.detach()
                    meter.before(loss)
                    rate, norm_sq = take_step(optimizer, loss)
                    at.advance(cfg.batch_size)
                    recorder.step(
                        at.step, at.epoch, at.samples, loss, rate, norm_sq, meter.after(rate)
                    )

                    old = perf_counter() - saved > cfg.checkpoint.seconds
                    stopping, saving, due = ranks.any_rank(
                        stop.received is not None, old, recorder.due
                    )
                    if stopping or saving or due:
                        diverged = show()
                        if lease is not None and lease.compromise is not None:
                            raise Busy(
                                f"{name} was taken over by another process while this one stood still"
                            )
                    if (stopping or saving) and not diverged:
                        state.save(at)
                        saved = perf_counter()
                    if stopping and not diverged:
                        raise Stopped(
                            f"{name} stopped after step {at.step} of {total}", stop.received
                        )
            diverged = diverged or show()
            if not diverged:
                metrics = evaluate(
                    model, test_data, transform, device, dtype, cfg.precision == "bf16", ranks
                )
                at.next_epoch()
                tracker.log(recorder.epoch(at.epoch, at.step, at.samples, metrics), "test")
        recorder.save()

        def finish() -> dict[str, Any]:
            content = {
                "run_id": name,
                "status": "diverged" if diverged else "finished",
                "config": asdict(cfg),
                "data": {
                    "label": info.label,
                    "fingerprint": info.fingerprint,
                    "num_train": info.num_train,
                    "num_test": info.num_test,
                },
                "summary": _summary(recorder, diverged),
                "device": str(device),
                "division": {
                    "ranks": ranks.world_size,
                    "micro_batches": parts,
                    "images_at_once": at_once,
                },
                "provenance": provenance(),
            }
            store.finish(name, content)
            return content

        return ranks.broadcast(finish)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: BatchLoader,
    transform: Transform,
    device: torch.device,
    dtype: torch.dtype,
    bf16: bool,
    ranks: Ranks,
) -> tuple[float, float, float]:
    """Mean cross-entropy (nats), accuracy and top-5 accuracy (0 to 1) over the split, shared by the ranks."""
    model.eval()
    sums = torch.zeros(4, device=device, dtype=torch.float64)
    for batch in data.epoch():
        labels = to(batch.labels, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(transform.test(to(batch.images, device)).to(dtype)).to(dtype)
        right = (logits.argmax(1) == labels).sum()
        among_five = (logits.topk(min(5, logits.shape[1])).indices == labels[:, None]).sum()
        sums += torch.stack(
            [
                cross_entropy(logits, labels, reduction="sum").double(),
                right,
                among_five,
                right.new_tensor(len(labels)),
            ]
        )
    total, top1, top5, n = ranks.sum(sums).tolist()
    return total / n, top1 / n, top5 / n


def _summary(recorder: Recorder, diverged: bool) -> dict[str, Any]:
    """The numbers of runs.csv. The final training loss is the mean over the steps of the last epoch."""
    steps = pd.DataFrame(recorder.steps)
    last = recorder.epochs[-1] if recorder.epochs else {}
    final = (
        math.nan
        if diverged
        else float(steps.loc[steps["epoch"] == steps["epoch"].max(), "loss"].mean())
    )
    seconds = recorder.seconds
    return {
        "steps": len(steps),
        "final_train_loss": final,
        "final_test_loss": last.get("test_loss", math.nan),
        "final_test_accuracy": last.get("test_accuracy", math.nan),
        "final_test_top5_accuracy": last.get("test_top5_accuracy", math.nan),
        "seconds": seconds,
        "images_per_second": float(steps["samples"].max()) / seconds,
    }
