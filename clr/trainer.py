"""One training run, from its config to its records."""

from __future__ import annotations

import inspect
import math
from contextlib import closing
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clr.config import TrainConfig
from clr.data import DatasetInfo, Transform, open_loader
from clr.data.loaders import BatchLoader
from clr.errors import UserError
from clr.models import build_model
from clr.optim import grad_norm_sq
from clr.progress import Progress
from clr.provenance import provenance
from clr.records import Recorder
from clr.store import Store, run_id
from clr.tracking import Tracker


def train(cfg: TrainConfig, info: DatasetInfo) -> dict[str, Any]:
    """Make the run of `cfg` on the prepared data `info` unless the store has it; returns its run.json."""
    store, name = Store(cfg.store), run_id(cfg, info.fingerprint)
    if (done := store.finished(name)) is not None:
        return done

    device = _device(cfg.device)
    train_data = open_loader(info, "train", cfg.batch_size, cfg.loader, cfg.workers)
    test_data = open_loader(info, "test", max(cfg.batch_size, 500), cfg.loader, cfg.workers)
    transform = Transform(info, cfg.dataset.crop_padding, cfg.dataset.flip)
    model = build_model(cfg.model, len(info.classes), cfg.seed).to(device).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(cfg.optimizer, model)
    takes_loss = "loss" in inspect.signature(optimizer.step).parameters
    parameters = list(model.parameters())

    def step_with(loss: Tensor) -> None:
        optimizer.step(loss=loss)  # type: ignore[call-overload]

    folder = store.begin(name, asdict(cfg))
    recorder = Recorder(folder)
    tracker = Tracker(cfg.wandb, name, asdict(cfg), folder)
    step, samples, diverged = 0, 0, False
    with closing(tracker), Progress(name, cfg.epochs * train_data.steps_per_epoch, cfg.progress) as progress:
        for epoch in range(cfg.epochs):
            model.train()
            with closing(train_data.epoch(cfg.seed, epoch)) as batches:
                for batch in batches:
                    images = transform.train(batch.images.to(device), batch.ids, cfg.seed, epoch)
                    labels = batch.labels.to(device)
                    with torch.autocast(device.type, torch.bfloat16, enabled=cfg.precision == "bf16"):
                        loss = cross_entropy(model(images), labels)
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    loss = loss.detach()
                    norm_sq = _own_norm_sq(optimizer, parameters)
                    step_with(loss) if takes_loss else optimizer.step()
                    group = optimizer.param_groups[0]

                    step, samples = step + 1, samples + len(labels)
                    norm_sq = group["grad_norm_sq"] if norm_sq is None else norm_sq
                    if recorder.step(step, epoch, samples, loss, group["lr"], norm_sq):
                        rows, diverged = recorder.fetch()
                        _show(rows, tracker, progress)
                        if diverged:
                            break
            if not diverged:
                rows, diverged = recorder.fetch()
                _show(rows, tracker, progress)
            if diverged:
                break
            test_loss, accuracy = evaluate(model, test_data, transform, device, cfg.precision)
            tracker.log(recorder.epoch(epoch + 1, step, samples, test_loss, accuracy), "test")
        recorder.save()
        summary = _summary(recorder, diverged)

    content = {
        "run_id": name,
        "status": "diverged" if diverged else "finished",
        "config": asdict(cfg),
        "data": {"label": info.label, "fingerprint": info.fingerprint, "num_train": info.num_train,
                 "num_test": info.num_test},
        "summary": summary,
        "device": str(device),
        "provenance": provenance(),
    }  # fmt: skip
    store.finish(name, content)
    return content


@torch.no_grad()
def evaluate(
    model: nn.Module, data: BatchLoader, transform: Transform, device: torch.device, precision: str
) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy (0 to 1) over the split."""
    model.eval()
    loss, right, n = torch.zeros((), device=device), torch.zeros((), device=device), 0
    for batch in data.epoch():
        labels = batch.labels.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = model(transform.test(batch.images.to(device)))
        loss += cross_entropy(logits.float(), labels, reduction="sum")
        right += (logits.argmax(1) == labels).sum()
        n += len(labels)
    return loss.item() / n, right.item() / n


def build_optimizer(config: dict[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that the config's `_target_` names, with the config's other keys as its arguments."""
    arguments = {key: value for key, value in config.items() if key != "name"}
    try:
        optimizer = instantiate({**arguments, "_partial_": True})(model.parameters())
    except (InstantiationException, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"optimizer {config['name']} ({config['_target_']}) cannot be made: {reason}") from None
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(f"optimizer {config['name']}: {config['_target_']} is no torch.optim.Optimizer")
    return optimizer


def _own_norm_sq(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> Tensor | None:
    """‖g‖² before the step, for an optimizer that does not leave it in its param_groups as CLR does."""
    if "grad_norm_sq" in optimizer.param_groups[0]:
        return None
    return grad_norm_sq([p.grad for p in parameters if p.grad is not None])


def _show(rows: list[dict[str, Any]], tracker: Tracker, progress: Progress) -> None:
    for row in rows:
        tracker.log(row, "train")
    if rows:
        progress.update(rows[-1])


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but torch sees no GPU here; use device=cpu or device=auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _summary(recorder: Recorder, diverged: bool) -> dict[str, Any]:
    """The numbers of runs.csv. The final training loss is the mean over the steps of the last epoch."""
    steps = pd.DataFrame(recorder.steps)
    last = recorder.epochs[-1] if recorder.epochs else {"test_loss": math.nan, "test_accuracy": math.nan}
    final = math.nan if diverged else float(steps.loc[steps["epoch"] == steps["epoch"].max(), "loss"].mean())
    seconds = recorder.seconds
    return {
        "steps": len(steps),
        "final_train_loss": final,
        "final_test_loss": last["test_loss"],
        "final_test_accuracy": last["test_accuracy"],
        "seconds": seconds,
        "images_per_second": float(steps["samples"].max()) / seconds,
    }
