"""Resuming CLR and the methods of clr.methods from a torch.distributed.checkpoint."""

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
from method_cases import CASES, batch, build_model, curvature, loss_of
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from clr import CLR
from clr.methods.dog import DoG
from clr.training.optimizers import needs_curvature, take_step
from clr.warmup import CLRWarmup


def dadapt_sgd(params):
    pytest.importorskip("dadaptation")
    from clr.methods.dadaptation import DAdaptSGD

    return DAdaptSGD(params, momentum=0.9)


def prodigy(params):
    pytest.importorskip("prodigyopt")
    from clr.methods.prodigy import Prodigy

    return Prodigy(params)


BUILDERS = {
    **{case.name: case.build for case in CASES},
    "plain clr": CLR,
    "warm-up": lambda params: CLRWarmup(params, max_lr=0.5, warmup_steps=5),
    "dog": lambda params: DoG(params, reps_rel=0.01),
    "d-adaptation": dadapt_sgd,
    "prodigy": prodigy,
}


@pytest.fixture
def process_group(tmp_path):
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def train(model, optimizer, steps):
    """Train on the batches of `steps`; return the recorded rates."""
    rates = []
    for step in steps:
        x, y = batch(step, torch.float32)
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        bend = curvature(model, x, y) if needs_curvature(optimizer) else None
        rate, _ = take_step(optimizer, loss.detach(), curvature=bend)
        rates.append(float(rate))
    return rates


def states(model, optimizer):
    optimizer.zero_grad()
    return {
        "model": get_model_state_dict(model),
        "optimizer": get_optimizer_state_dict(model, optimizer),
    }


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_run_resumes_to_the_bit_in_a_new_optimizer(build, tmp_path, process_group):
    straight, model = build_model(torch.float32), build_model(torch.float32)
    rates = train(straight, build(straight.parameters()), range(8))

    first = build(model.parameters())
    assert train(model, first, range(4)) == rates[:4]
    checkpoint.save(states(model, first), checkpoint_id=tmp_path / "checkpoint")

    resumed = build_model(torch.float32)
    with torch.no_grad():
        for p in resumed.parameters():
            p.add_(1.0)  # the parameters and all that is derived from them come from the file
    second = build(resumed.parameters())
    loaded = states(resumed, second)
    checkpoint.load(loaded, checkpoint_id=tmp_path / "checkpoint")
    set_model_state_dict(resumed, loaded["model"])
    set_optimizer_state_dict(resumed, second, loaded["optimizer"])
    assert train(resumed, second, range(4, 8)) == rates[4:]
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_saving_before_the_first_step_does_not_change_the_run(build):
    straight, model = build_model(torch.float32), build_model(torch.float32)
    rates = train(straight, build(straight.parameters()), range(4))
    optimizer = build(model.parameters())
    states(model, optimizer)
    assert train(model, optimizer, range(4)) == rates
    for a, b in zip(straight.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)
