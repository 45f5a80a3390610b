"""The steps of CLR during a run, compared with the formula on the task of the examples."""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from digits import build_model, load_digits
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from clr import CLR

BATCH_SIZE = 128


@dataclass
class Step:
    """Parameters before a step, and the rate that CLR recorded after it."""

    params: list[Tensor]
    rate: float = -1.0


@contextmanager
def recorded_steps():
    """A list of the steps that any CLR of this process takes inside of the block."""
    steps = []

    def before(optimizer, args, kwargs):
        if isinstance(optimizer, CLR):
            params = [p for group in optimizer.param_groups for p in group["params"]]
            steps.append(Step([p.detach().clone() for p in params]))

    def after(optimizer, args, kwargs):
        if isinstance(optimizer, CLR):
            steps[-1].rate = optimizer.param_groups[0]["lr"].item()

    hooks = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
    try:
        yield steps
    finally:
        for hook in hooks:
            hook.remove()


def model_with(params):
    """The model of the examples with these parameters."""
    model = build_model()
    model.load_state_dict(dict(zip(model.state_dict(), params, strict=True)))
    return model


def rate_of_formula(params, batch, micro_batches=2):
    """Mean loss over the micro-batches of `batch`, over the squared norm of the mean gradient."""
    model = model_with(params)
    images, labels = (t.chunk(micro_batches) for t in batch)
    losses, grads = [], []
    for xs, ys in zip(images, labels, strict=True):
        losses.append(cross_entropy(model(xs), ys))
        grad = torch.autograd.grad(losses[-1], list(model.parameters()))
        grads.append(torch.cat([g.flatten() for g in grad]).double())
    mean_loss = sum(loss.item() for loss in losses) / micro_batches
    return mean_loss / torch.stack(grads).mean(0).square().sum().item()


@cache
def all_digits():
    return load_digits().tensors


def batch_number(index):
    """Images and labels of a batch; after the last one the first one follows."""
    images, labels = all_digits()
    start = index * BATCH_SIZE % len(images)
    return images[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE]


def check_rates(steps, batches=None, rel=1e-4):
    """Assert that each step has the rate of the formula at its parameters and its batch.

    `batches` are the numbers of the batches of the steps; None if each batch has a step.
    """
    expected = [
        rate_of_formula(step.params, batch_number(batch))
        for step, batch in zip(steps, batches or range(len(steps)), strict=True)
    ]
    assert [step.rate for step in steps] == pytest.approx(expected, rel=rel)
