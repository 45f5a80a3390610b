"""The step of CLR: its loss, its bounds, its groups."""

import copy
import math

import pytest
import torch
from optim_cases import constant_grad, parameter, rate, skipped
from torch import nn

from clr import CLR


def bowl_step(pass_loss):
    """One step on ½‖θ‖² from (3, 4), where E = 12.5 and g = θ; `pass_loss(optimizer, closure)`."""
    p = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = CLR([p])

    def closure():
        optimizer.zero_grad()
        loss = 0.5 * p.square().sum()
        loss.backward()
        return loss

    pass_loss(optimizer, closure)
    return p.detach(), optimizer


def step_with_a_known_loss(optimizer, closure):
    loss = closure()
    optimizer.step(lambda: loss)


def set_loss_and_step(optimizer, closure):
    optimizer.set_loss(closure())
    optimizer.step()


def set_loss_in_the_closure(optimizer, closure):
    def closure_of_a_framework():
        optimizer.set_loss(closure())
        return torch.tensor(99.0)  # such as the last micro-batch's part

    optimizer.step(closure_of_a_framework)


WAYS_TO_PASS_A_LOSS = {
    "a tensor": lambda optimizer, closure: optimizer.step(loss=closure()),
    "a tensor of shape (1,)": lambda optimizer, closure: optimizer.step(loss=closure()[None]),
    "a float": lambda optimizer, closure: optimizer.step(loss=closure().item()),
    "a closure": lambda optimizer, closure: optimizer.step(closure),
    "a closure that returns a known loss": step_with_a_known_loss,
    "a loss in addition to an empty closure": lambda optimizer, closure: optimizer.step(
        lambda: None, loss=closure()
    ),
    "set_loss": set_loss_and_step,
    "set_loss in a closure": set_loss_in_the_closure,
}


@pytest.mark.parametrize("way", WAYS_TO_PASS_A_LOSS.values(), ids=WAYS_TO_PASS_A_LOSS.keys())
def test_the_loss_can_be_passed_in_each_way(way):
    p, optimizer = bowl_step(way)
    assert rate(optimizer) == pytest.approx(0.5)  # E/‖g‖² = ½: half of the way to 0
    assert p.tolist() == pytest.approx([1.5, 2.0])


def test_step_returns_the_loss_and_enables_gradients_for_the_closure():
    returned = []

    def without_gradients(optimizer, closure):
        with torch.no_grad():
            returned.append(optimizer.step(closure))

    bowl_step(without_gradients)
    assert returned[0].item() == 12.5


def test_set_loss_serves_one_step_only():
    p = constant_grad(2, 1.0)
    optimizer = CLR([p])
    optimizer.set_loss(1.0)
    optimizer.step()
    with pytest.raises(ValueError, match="needs the loss"):
        optimizer.step()


@pytest.mark.parametrize(
    ("f_star", "max_lr", "expected"),
    [(0.0, None, 1.5), (1.0, None, 1.0), (0.0, 0.25, 0.25), (1.0, 10.0, 1.0), (0.0, math.inf, 1.5)],
)
def test_f_star_lowers_the_rate_and_max_lr_bounds_it(f_star, max_lr, expected):
    p = constant_grad(2, 1.0)
    optimizer = CLR([p], f_star=f_star, max_lr=max_lr)
    optimizer.step(loss=3.0)
    assert rate(optimizer) == pytest.approx(expected, rel=1e-6)
    assert p.tolist() == pytest.approx([1 - expected] * 2)


def test_groups_share_the_norm_and_have_their_own_bounds():
    a, b = constant_grad(3, 2.0), parameter(torch.ones(2, 2))
    c = constant_grad(4, 2.0)
    optimizer = CLR([{"params": [a]}, {"params": [b], "max_lr": 0.05}])
    optimizer.add_param_group({"params": [c]})
    optimizer.step(loss=16.0)
    assert [rate(optimizer, i) for i in range(3)] == pytest.approx([0.5, 0.05, 0.5])
    assert a.tolist() == pytest.approx([0.0] * 3, abs=1e-6)
    assert b.flatten().tolist() == pytest.approx([0.95] * 4)


def test_a_group_may_be_empty():
    p = constant_grad(3, 1.0)
    optimizer = CLR([{"params": []}, {"params": [p]}])
    optimizer.step(loss=3.0)
    assert rate(optimizer, 0) == rate(optimizer, 1) == pytest.approx(1.0)
    assert p.tolist() == pytest.approx([0.0] * 3, abs=1e-6)


def test_groups_and_steps_do_not_share_tensors():
    optimizer = CLR([{"params": [constant_grad(1, 1.0)]}, {"params": [constant_grad(1, 1.0)]}])
    storages = set()
    kept = []
    for _ in range(2):
        optimizer.step(loss=1.0)
        for group in optimizer.param_groups:
            for key in ("lr", "grad_norm_sq", "skipped"):
                kept.append(group[key])
                storages.add(group[key].data_ptr())
    assert len(storages) == 2 * 2 * 3


@pytest.mark.parametrize(("loss", "grad"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0)])
def test_a_loss_below_f_star_or_a_zero_gradient_gives_rate_zero_and_is_no_skip(loss, grad):
    p = constant_grad(3, grad)
    optimizer = CLR([p])
    optimizer.step(loss=loss)
    assert rate(optimizer) == 0
    assert skipped(optimizer) == 0
    assert torch.equal(p.detach(), torch.ones(3))


def test_parameters_without_gradient_stay():
    a, b = constant_grad(2, 1.0), constant_grad(2, 1.0)
    b.grad = None
    optimizer = CLR([a, b])
    optimizer.step(loss=1.0)
    assert rate(optimizer) == pytest.approx(0.5)
    assert torch.equal(b.detach(), torch.ones(2))
    a.grad = None
    optimizer.step(loss=1.0)
    assert rate(optimizer) == 0


def test_the_rate_of_half_precision_parameters_in_another_layout_keeps_its_digits():
    # 1 − 0.3 · 3 in bfloat16: a rate rounded to bfloat16, 0.30078, would give 0.09766
    p = nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16))
    p.grad = torch.full((2, 2), 3.0, dtype=torch.bfloat16).t().contiguous().t()
    p.grad = torch.stack([p.grad, p.grad], dim=-1)[..., 0]
    CLR([p], max_lr=0.3).step(loss=1e9)
    assert torch.equal(p.detach(), torch.full((2, 2), 0.1).bfloat16())


def test_grad_scaler_with_the_unscaled_loss():
    results = []
    for enabled in (False, True):
        p = nn.Parameter(torch.tensor([3.0, 4.0]))
        optimizer = CLR([p])
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=enabled)
        loss = 0.5 * p.square().sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer, loss=loss.detach())
        scaler.update()
        results.append((p.tolist(), rate(optimizer)))
    assert results[0] == results[1]
    assert results[0][1] == pytest.approx(0.5)


def test_accumulated_micro_batches_equal_the_whole_batch():
    torch.manual_seed(0)
    x, y = torch.randn(32, 5), torch.randn(32, 1)
    whole = nn.Linear(5, 1)
    accumulated = copy.deepcopy(whole)
    loss = (whole(x) - y).square().mean()
    loss.backward()
    at_once = CLR(whole.parameters())
    at_once.step(loss=loss)
    mean = torch.zeros(())
    for xs, ys in zip(x.split(8), y.split(8), strict=True):
        micro = (accumulated(xs) - ys).square().mean() / 4
        micro.backward()
        mean += micro.detach()
    in_parts = CLR(accumulated.parameters())
    in_parts.step(loss=mean)
    assert rate(at_once) == pytest.approx(rate(in_parts), rel=1e-6)
    assert torch.allclose(whole.weight, accumulated.weight, rtol=1e-6)


def test_clipping_the_gradient_makes_the_rate_too_large():
    # The caveat of the docstring: ‖g‖ = 5 is clipped to 1, and h is 25 times as large
    def clip_and_step(optimizer, closure):
        loss = closure()
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        optimizer.step(loss=loss)

    p, optimizer = bowl_step(clip_and_step)
    assert rate(optimizer) == pytest.approx(12.5, rel=1e-5)
    assert p.norm().item() > 5  # beyond the minimum, and further from it than before
