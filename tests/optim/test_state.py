"""State of the optimizer: checkpoints, copies, schedulers."""

import copy
import math
import pickle
import warnings

import pytest
import torch
from optim_cases import constant_grad, rate, skipped
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from clr import CLR


def test_resuming_from_a_checkpoint_is_bit_exact(tmp_path):
    def train(model, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            if skipped(optimizer) == 0:
                loss = loss * math.nan  # one skipped step: its count must be restored
            optimizer.step(loss=loss)

    torch.manual_seed(0)
    x = torch.randn(16, 8)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    uninterrupted = copy.deepcopy(model)
    straight = CLR(uninterrupted.parameters(), max_lr=0.7)
    train(uninterrupted, straight, 6)

    first = CLR(model.parameters(), max_lr=0.7)
    train(model, first, 3)
    states = {"model": model.state_dict(), "optimizer": first.state_dict()}
    torch.save(states, tmp_path / "state.pt")
    states = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    resumed.load_state_dict(states["model"])
    second = CLR(resumed.parameters())
    second.load_state_dict(states["optimizer"])
    assert rate(second) == rate(first)
    train(resumed, second, 3)
    for a, b in zip(uninterrupted.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert skipped(second) == skipped(straight) == 1
    assert second.param_groups[0]["max_lr"] == 0.7


def through_state_dict(optimizer):
    other = CLR([constant_grad(3, 1.0)])
    other.load_state_dict(optimizer.state_dict())
    return other


def through_pickle(optimizer):
    return pickle.loads(pickle.dumps(optimizer))


@pytest.mark.parametrize("copied", [through_state_dict, copy.deepcopy, through_pickle])
def test_copies_keep_the_hyperparameters(copied):
    optimizer = copied(CLR([constant_grad(3, 1.0)], f_star=0.5, max_lr=0.9))
    optimizer.param_groups[0]["params"][0].grad = torch.ones(3)  # copies have no gradients
    optimizer.step(loss=2.0)
    assert rate(optimizer) == pytest.approx(0.5)
    optimizer.step(loss=20.0)
    assert rate(optimizer) == 0.9
    optimizer.add_param_group({"params": [constant_grad(3, 1.0)]})
    optimizer.step(loss=3.5)  # f_star of the new group is that of the others
    assert rate(optimizer, 1) == pytest.approx(0.5)
    assert optimizer.process_group is None


@pytest.mark.parametrize("copied", [through_state_dict, copy.deepcopy, through_pickle])
def test_copies_keep_the_last_step_and_no_loss_of_the_next(copied):
    optimizer = CLR([constant_grad(3, 1.0)])
    optimizer.step(loss=math.nan)  # skipped
    optimizer.step(loss=1.5)
    watched = constant_grad(3, 1.0).sum()
    optimizer.watch_loss(watched)
    watched.backward()
    other = copied(optimizer)
    state = other.param_groups[0]
    assert state["lr"].item() == pytest.approx(0.5)
    assert state["grad_norm_sq"].item() == pytest.approx(3.0)
    assert state["skipped"].item() == 1
    state["params"][0].grad = torch.ones(3)
    with pytest.raises(ValueError, match="needs the loss of this step"):
        other.step()


def test_a_state_dict_of_another_optimizer_is_refused():
    p = constant_grad(3, 1.0)
    optimizer = CLR([p])
    with pytest.raises(ValueError, match="not the state of CLR: a parameter group lacks f_star"):
        optimizer.load_state_dict(torch.optim.SGD([p], lr=0.1).state_dict())
    optimizer.step(loss=1.5)
    assert rate(optimizer) == pytest.approx(0.5)


@pytest.mark.filterwarnings("error")
def test_distributed_checkpoints_save_and_restore_the_state():
    model = nn.Linear(2, 2)
    optimizer = CLR(model.parameters(), f_star=0.1)
    before = copy.deepcopy(model.state_dict())
    get_optimizer_state_dict(model, optimizer)  # takes a step with gradients of 0
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step(loss=3.1)
    state = get_optimizer_state_dict(model, optimizer)
    model.zero_grad()
    restored = CLR(model.parameters())
    set_optimizer_state_dict(model, restored, state)
    assert rate(restored) == rate(optimizer) == pytest.approx(0.5)
    assert restored.param_groups[0]["f_star"] == 0.1
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    restored.step(loss=6.1)
    assert rate(restored) == pytest.approx(1.0)


def constant_factor(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.0)


def exponential(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


def plateau(optimizer):
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    scheduler.step(0.0)
    scheduler.step = lambda step=scheduler.step: step(1.0)
    return scheduler


@pytest.mark.parametrize("build_scheduler", [constant_factor, exponential, plateau])
def test_a_scheduler_has_no_effect_and_warns_once(build_scheduler):
    optimizer = CLR([constant_grad(1, 1.0)])
    optimizer.step(loss=0.5)
    scheduler = build_scheduler(optimizer)
    kept = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(1, 5):
            optimizer.step(loss=float(step))
            kept.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
            assert rate(optimizer) == step
    assert [lr.item() for lr in kept] == [1, 2, 3, 4]
    messages = [str(w.message) for w in caught if "lr of CLR was set" in str(w.message)]
    assert len(messages) == 1


def test_onecyclelr_is_reported_to_replace_the_bound():
    optimizer = CLR([constant_grad(1, 1.0)])
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9, cycle_momentum=False)
    with pytest.warns(UserWarning, match="OneCycleLR has replaced this bound by its own max_lr"):
        optimizer.step(loss=0.5)


def test_a_rate_assigned_from_outside_has_no_effect_and_warns():
    optimizer = CLR([constant_grad(1, 1.0)])
    optimizer.param_groups[0]["lr"] = 0.1
    with pytest.warns(UserWarning, match="lr of CLR was set from outside"):
        optimizer.step(loss=0.5)
    assert rate(optimizer) == 0.5


def test_the_bound_can_be_scheduled():
    optimizer = CLR([constant_grad(1, 1.0)], max_lr=1.0)
    rates = []
    for bound in (0.1, 0.2, 0.3):
        optimizer.param_groups[0]["max_lr"] = bound
        optimizer.step(loss=5.0)
        rates.append(rate(optimizer))
    assert rates == [0.1, 0.2, 0.3]
