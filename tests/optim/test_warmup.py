"""CLR with a cap that warms up: formula, exact resumption, refusals."""

import copy
import doctest
import pickle

import pytest
import torch
from optim_cases import constant_grad, rate, skipped
from torch import nn

import clr.warmup
from clr import CLR
from clr.config import load
from clr.training.optimizers import build_optimizer, check_optimizer
from clr.warmup import CLRWarmup


def quadratic_step(optimizer, p):
    """A step on the loss ‖p‖², whose CLR is 1/4 everywhere."""
    optimizer.zero_grad()
    loss = p.square().sum()
    loss.backward()
    return optimizer.step(loss=loss)


def test_the_rate_of_each_step_in_float64():
    p = nn.Parameter(torch.tensor([3.0, -4.0], dtype=torch.float64))
    optimizer = CLRWarmup([p], max_lr=0.7, warmup_steps=5)
    expected = p.detach().clone()
    for step in range(1, 9):
        loss, grad = expected.square().sum(), 2 * expected
        h = min(loss.item() / grad.square().sum().item(), 0.7 * min(1, step / 5))
        expected -= h * grad
        quadratic_step(optimizer, p)
        assert rate(optimizer) == pytest.approx(h, rel=1e-12)
        assert torch.allclose(p, expected, rtol=1e-12, atol=0)
    assert optimizer.param_groups[0]["max_lr"] == 0.7


def test_after_the_warm_up_it_is_clr_with_a_cap():
    p, q = (nn.Parameter(torch.tensor([3.0, -4.0])) for _ in range(2))
    warmed, plain = CLRWarmup([p], max_lr=0.2, warmup_steps=1), CLR([q], max_lr=0.2)
    for _ in range(4):
        quadratic_step(warmed, p)
        quadratic_step(plain, q)
    assert torch.equal(p, q)


def test_groups_have_caps_of_their_own_and_one_step_count():
    groups = [
        {"params": [constant_grad(1, 1.0)], "max_lr": 0.4},
        {"params": [constant_grad(1, 1.0)]},
    ]
    optimizer = CLRWarmup(groups, max_lr=0.8, warmup_steps=4)
    optimizer.step(loss=9.0)
    assert [rate(optimizer, i) for i in range(2)] == pytest.approx([0.1, 0.2])
    optimizer.add_param_group({"params": [constant_grad(1, 1.0)]})
    optimizer.step(loss=9.0)
    assert [rate(optimizer, i) for i in range(3)] == pytest.approx([0.2, 0.4, 0.4])


def test_a_skipped_step_counts_and_a_refused_one_does_not():
    optimizer = CLRWarmup([constant_grad(1, 1.0)], max_lr=1.0, warmup_steps=4)
    with pytest.raises(ValueError, match="needs the loss"):
        optimizer.step()
    assert optimizer.param_groups[0]["steps_taken"] == 0
    optimizer.step(loss=float("nan"))
    assert skipped(optimizer) == 1
    optimizer.step(loss=9.0)
    assert rate(optimizer) == pytest.approx(0.5)


def through_state_dict(optimizer):
    other = CLRWarmup([constant_grad(2, 1.0)], max_lr=0.8, warmup_steps=1)
    other.load_state_dict(optimizer.state_dict())
    return other


def through_pickle(optimizer):
    return pickle.loads(pickle.dumps(optimizer))


@pytest.mark.parametrize("copied", [through_state_dict, copy.deepcopy, through_pickle])
def test_a_copy_continues_the_warm_up(copied):
    optimizer = CLRWarmup([constant_grad(2, 1.0)], max_lr=0.8, warmup_steps=4)
    optimizer.step(loss=9.0)
    other = copied(optimizer)
    other.param_groups[0]["params"][0].grad = torch.ones(2)  # copies have no gradients
    other.step(loss=9.0)
    assert rate(other) == pytest.approx(0.4)
    other.add_param_group({"params": [constant_grad(1, 1.0)]})
    other.step(loss=9.0)
    assert [rate(other, i) for i in range(2)] == pytest.approx([0.6, 0.6])


def test_resuming_from_a_checkpoint_is_bit_exact(tmp_path):
    def train(model, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step(loss=loss)

    torch.manual_seed(0)
    x = torch.randn(16, 8)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    straight = copy.deepcopy(model)
    train(straight, CLRWarmup(straight.parameters(), max_lr=0.5, warmup_steps=6), 8)

    first = CLRWarmup(model.parameters(), max_lr=0.5, warmup_steps=6)
    train(model, first, 3)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = CLRWarmup(model.parameters(), max_lr=0.5, warmup_steps=6)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    train(model, second, 5)
    for a, b in zip(straight.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_dict_of_clr_is_refused():
    p = constant_grad(3, 1.0)
    optimizer = CLRWarmup([p], max_lr=1.0, warmup_steps=2)
    with pytest.raises(ValueError, match="not the state of CLRWarmup: a parameter group lacks fi"):
        optimizer.load_state_dict(CLR([p]).state_dict())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_lr": None, "warmup_steps": 2}, ValueError, "needs a cap to warm up"),
        ({"max_lr": -1.0, "warmup_steps": 2}, ValueError, "max_lr must be None or at least 0"),
        ({"max_lr": 1.0, "warmup_steps": 0}, ValueError, "warmup_steps must be at least 1, got 0"),
        ({"max_lr": 1.0, "warmup_steps": 2.5}, TypeError, "warmup_steps must be an integer"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        CLRWarmup([constant_grad(1, 1.0)], **arguments)


def test_the_config_builds_it_and_the_rate_is_exposed():
    config = load(["optimizer=clr_warmup"]).optimizer
    check_optimizer(config)
    optimizer = build_optimizer(config, nn.Linear(2, 1))
    group = optimizer.param_groups[0]
    for p in group["params"]:
        p.grad = torch.ones_like(p)
    optimizer.step(loss=1e6)
    assert group["lr"].item() == pytest.approx(config["max_lr"] / config["warmup_steps"])


def test_the_example_of_the_docstring_runs():
    results = doctest.testmod(clr.warmup)
    assert results.attempted >= 5
    assert results.failed == 0
