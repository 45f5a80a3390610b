"""The loss of a step by way of `watch_loss`, and closures that accumulate gradients."""

import pytest
import torch
from optim_cases import rate
from torch import nn

from clr import CLR

# E = ½‖θ − c‖² over two micro-batches c: mean loss and mean gradient at θ = 0 are
CENTERS = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
MEAN_LOSS, NORM_SQ = (4.5 + 8.0) / 2, 1.5**2 + 2.0**2


def build():
    p = nn.Parameter(torch.zeros(2))
    return p, CLR([p])


def losses(p):
    return [0.5 * (p - center).square().sum() for center in CENTERS]


def test_watched_losses_add_up_as_their_gradients_do():
    p, optimizer = build()
    for loss in losses(p):
        optimizer.watch_loss(loss)
        (loss / 2).backward()
    optimizer.step()
    assert rate(optimizer) == pytest.approx(MEAN_LOSS / NORM_SQ)


def test_micro_batches_of_different_weight():
    p, optimizer = build()
    first, second = losses(p)
    optimizer.watch_loss(first)
    optimizer.watch_loss(second)
    (0.75 * first + 0.25 * second).backward()
    optimizer.step()
    norm_sq = (0.75 * 3) ** 2 + (0.25 * 4) ** 2
    assert rate(optimizer) == pytest.approx((0.75 * 4.5 + 0.25 * 8) / norm_sq)


def test_a_watched_loss_serves_one_step():
    p, optimizer = build()
    loss = losses(p)[0]
    optimizer.watch_loss(loss)
    loss.backward()
    optimizer.step()
    with pytest.raises(ValueError, match=r"call optimizer\.watch_loss\(loss\) before backward"):
        optimizer.step()


def test_zero_grad_forgets_watched_losses():
    p, optimizer = build()
    for loss in losses(p):
        optimizer.zero_grad()
        optimizer.watch_loss(loss)
        loss.backward()
    optimizer.step()
    assert rate(optimizer) == pytest.approx(8.0 / 16.0)  # of the second one alone


def test_zero_grad_between_watch_loss_and_backward_keeps_the_loss():
    """As Lightning does: it calls zero_grad after the forward pass."""
    p, optimizer = build()
    loss = losses(p)[1]
    optimizer.watch_loss(loss)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    assert rate(optimizer) == pytest.approx(0.5)


def test_the_loss_of_an_evaluation_is_ignored():
    p, optimizer = build()
    with torch.no_grad():
        optimizer.watch_loss(losses(p)[0])
    loss = losses(p)[1]
    loss.backward()
    with pytest.raises(ValueError, match="needs the loss of this step"):
        optimizer.step()


@pytest.mark.parametrize(
    ("preset", "given", "expected"), [(None, None, 8.0), (4.0, None, 4.0), (4.0, 2.0, 2.0)]
)
def test_precedence_of_the_ways(preset, given, expected):
    p, optimizer = build()
    loss = losses(p)[1]
    optimizer.watch_loss(loss)
    loss.backward()
    if preset is not None:
        optimizer.set_loss(preset)
    optimizer.step(lambda: 99.0, loss=given)
    assert rate(optimizer) == pytest.approx(expected / 16)


def test_a_scaled_loss_is_refused_in_backward():
    p, optimizer = build()
    scaler = torch.amp.GradScaler("cpu")
    loss = losses(p)[0]
    optimizer.watch_loss(loss)
    with pytest.raises(RuntimeError, match=r"multiplied by 65536 .*scaler\.step\(optimizer, loss"):
        scaler.scale(loss).backward()


def test_watch_loss_refuses_what_has_no_graph_to_watch():
    _, optimizer = build()
    with pytest.raises(TypeError, match=r"needs the tensor of the loss, got 1\.0"):
        optimizer.watch_loss(1.0)
    with pytest.raises(ValueError, match="one number"):
        optimizer.watch_loss(torch.ones(2, requires_grad=True))


def test_a_closure_that_only_adds_to_gradients_is_refused():
    """Its value is the loss of the last micro-batch, and often divided by their number."""
    p, optimizer = build()
    first, second = (loss / 2 for loss in losses(p))
    first.backward()

    def closure():
        second.backward()
        return second

    with pytest.raises(ValueError, match=r"gradient accumulation.*watch_loss\(loss\)"):
        optimizer.step(closure)
    assert p.tolist() == [0, 0]


ZEROING = {
    "optimizer.zero_grad": lambda p, optimizer: optimizer.zero_grad(),
    "optimizer.zero_grad in place": lambda p, optimizer: optimizer.zero_grad(set_to_none=False),
    "None": lambda p, optimizer: setattr(p, "grad", None),
    "in place": lambda p, optimizer: p.grad.zero_(),
    "detached in place": lambda p, optimizer: p.grad.detach_().zero_(),
}


@pytest.mark.parametrize("zero", ZEROING.values(), ids=ZEROING.keys())
def test_a_closure_that_zeroes_gradients_is_accepted(zero):
    p, optimizer = build()
    losses(p)[0].backward()

    def closure():
        zero(p, optimizer)
        loss = losses(p)[1]
        loss.backward()
        return loss

    optimizer.step(closure)
    assert rate(optimizer) == pytest.approx(0.5)


def test_accumulation_before_a_closure_that_returns_the_mean_loss():
    p, optimizer = build()
    for loss in losses(p):
        (loss / 2).backward()
    optimizer.step(lambda: MEAN_LOSS)
    assert rate(optimizer) == pytest.approx(MEAN_LOSS / NORM_SQ)


def test_a_rate_can_be_formatted():
    _, optimizer = build()
    assert f"{optimizer.param_groups[0]['lr']:.2f}" == "0.00"
