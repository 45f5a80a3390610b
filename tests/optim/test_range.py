"""Gradients, losses and steps at the ends of the range of floating-point numbers."""

import math

import pytest
import torch
from optim_cases import constant_grad, grad_norm_sq_of, rate, skipped
from torch import nn

from clr import CLR
from clr.optim import grad_norm_sq
from clr.step.update import exceeds_kernel


@pytest.mark.parametrize("max_lr", [None, 10.0])
@pytest.mark.parametrize(
    ("loss", "grad"),
    [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf), (-math.inf, 1.0)],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_non_finite_loss_or_norm_skips_the_step_and_is_counted(loss, grad, max_lr, transposed):
    p = nn.Parameter(torch.ones(3, 2))
    p.grad = torch.ones(2, 3).t() if transposed else torch.ones(3, 2)
    p.grad[0, 0] = grad
    optimizer = CLR([p], max_lr=max_lr)
    optimizer.step(loss=loss)
    assert torch.equal(p.detach(), torch.ones(3, 2))
    assert rate(optimizer) == 0
    assert skipped(optimizer) == 1
    p.grad.fill_(1.0)
    optimizer.step(loss=6.0)
    assert skipped(optimizer) == 1
    assert torch.allclose(p.detach(), torch.zeros(3, 2), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [3, 4096, 5000, 8192])
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-23, 1e-20, 1e-10, 1.0, 1e10, 1e18, 1e25, 1e38])
def test_the_norm_is_right_for_gradients_of_any_size(scale, size, dtype):
    generator = torch.Generator().manual_seed(0)
    g = (scale * torch.rand(size, generator=generator, dtype=torch.float64)).to(dtype)
    assert grad_norm_sq([g]).item() == pytest.approx(g.double().square().sum().item(), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-23, 1e-10, 0.37, 1e10, 1e18])
def test_the_norm_of_a_constant_gradient_has_its_largest_error(scale):
    g = torch.full((40960,), scale)
    assert grad_norm_sq([g]).item() == pytest.approx(g.double().square().sum().item(), rel=3e-5)


@pytest.mark.parametrize("scale", [1e-153, 1e-120, 1.0, 1e150])
def test_the_norm_of_float64_gradients_is_right_as_far_as_its_square_is_a_normal_number(scale):
    g = torch.full((5000,), scale, dtype=torch.float64)
    assert grad_norm_sq([g]).item() == pytest.approx(5000 * scale * scale, rel=1e-12)


def test_the_norm_of_a_long_row_is_right_where_a_float32_sum_is_not():
    g = torch.rand(30_000_000, generator=torch.Generator().manual_seed(0)) + 0.5
    expected = g.double().square().sum().item()
    assert grad_norm_sq([g]).item() == pytest.approx(expected, rel=1e-7)
    assert abs(torch.linalg.vector_norm(g).double().square().item() / expected - 1) > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grad", [1e-22, 1e-20, 1e-19, 1e-10, 1e10, 1e18])
@pytest.mark.parametrize("loss", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("size", [3, 4096])
def test_a_step_that_fits_is_taken_exactly(grad, loss, size, dtype):
    p = constant_grad(size, grad, dtype)
    g = p.grad[0].double().item()
    expected = torch.tensor(1 - loss / (size * g * g) * g, dtype=torch.float64).to(dtype)
    optimizer = CLR([p])
    optimizer.step(loss=loss)
    assert skipped(optimizer) == 0
    assert p[0].item() == pytest.approx(
        expected.item(), rel=1e-2 if dtype == torch.bfloat16 else 3e-5
    )


def test_a_small_rate_is_not_lost():
    # Rate 3.3e-51, which float32 rounds to 0, and step 3.3e-26
    p = nn.Parameter(torch.zeros(3))
    p.grad = torch.full((3,), 1e25)
    CLR([p]).step(loss=1.0)
    assert p.tolist() == pytest.approx([-1 / 3e25] * 3, rel=1e-6)


@pytest.mark.parametrize(
    ("grad", "loss", "dtype"),
    [
        (1e-30, 1.0, torch.float32),  # rate 3e59
        (1e-40, 1.0, torch.float32),  # the new parameter would be −3e39
        (1e-45, 1.0, torch.float32),
        (1e-20, 1e30, torch.float32),
        (1e-30, 1.0, torch.bfloat16),
        (1e-4, 1e3, torch.float16),  # the new parameter would be −3e6
        (1e-200, 1.0, torch.float64),  # ‖g‖² underflows
        (1e-10, 1e300, torch.float64),
    ],
)
@pytest.mark.parametrize("with_gaps", [False, True])
def test_a_step_that_does_not_fit_skips_all_parameters_and_is_counted(grad, loss, dtype, with_gaps):
    p, capped = constant_grad(3, grad, dtype), constant_grad(1, 0.0, dtype)
    if with_gaps:
        p.grad = torch.stack([p.grad, p.grad], dim=-1)[..., 0]
    optimizer = CLR([{"params": [capped], "max_lr": 0.1}, {"params": [p]}])
    optimizer.step(loss=loss)
    assert torch.equal(p.detach(), torch.ones(3, dtype=dtype))
    assert torch.equal(capped.detach(), torch.ones(1, dtype=dtype))
    assert (rate(optimizer, 0), rate(optimizer, 1)) == (0, 0)
    assert skipped(optimizer) == 1


def test_a_bound_makes_a_step_along_a_tiny_gradient_possible():
    p = constant_grad(3, 1e-30)
    optimizer = CLR([p], max_lr=10.0)
    optimizer.step(loss=1.0)
    assert rate(optimizer) == 10
    assert skipped(optimizer) == 0


def test_a_large_float16_step_over_many_parameters_is_taken():
    # ‖hg‖ = 6e4 exceeds half of the largest float16, though no parameter moves by more than 60
    p = constant_grad(1_000_000, 0.01, torch.float16)
    optimizer = CLR([p], max_lr=6000.0)
    optimizer.step(loss=1e9)
    assert grad_norm_sq_of(optimizer) == pytest.approx(100, rel=1e-2)
    assert skipped(optimizer) == 0
    assert p[0].item() == pytest.approx(-59, rel=1e-2)


@pytest.mark.parametrize(
    ("rate_of_step", "length", "dtype", "exceeds"),
    [
        (0.0, 1.0, torch.float32, False),
        (0.1, 1.0, torch.float32, False),
        (1e39, 1e-20, torch.float32, True),  # the rate overflows
        (1e-39, 1.0, torch.float32, True),  # the rate is not a normal number
        (1e30, 1e9, torch.float32, True),  # the step overflows
        (1.0, 4e4, torch.float16, True),
        (1.0, 4e4, torch.bfloat16, False),
        (1e39, 1e-20, torch.float64, True),  # kernels of other devices read a float32 rate
    ],
)
def test_other_devices_decide_without_the_host_which_steps_fit(
    rate_of_step, length, dtype, exceeds
):
    numbers = torch.tensor([rate_of_step, length], dtype=torch.float64)
    result = exceeds_kernel(*numbers, {dtype}, on_cpu=False)
    assert isinstance(result, torch.Tensor)
    assert result.item() == exceeds
