"""The optimizer agrees with its reference implementation, whatever the parameters look like."""

import copy

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from optim_cases import grad_norm_sq_of, rate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clr import CLR
from clr.reference import ReferenceCLR

# One unit in the last place of the dtype: rounding of the result and of the arithmetic.
PRECISION = {torch.float64: 1e-13, torch.float32: 3e-7, torch.bfloat16: 1e-2, torch.float16: 2e-3}
NORM_ERROR = 3e-5  # of constant gradients, which "expanded" is

layouts = st.sampled_from(["contiguous", "channels_last", "transposed", "with gaps", "expanded"])
shapes = st.one_of(
    st.just(()),
    st.tuples(st.integers(1, 9000)),
    st.tuples(st.integers(1, 70), st.integers(1, 130)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5)),
)


def with_layout(x: Tensor, layout: str) -> Tensor:
    """The values of `x`, laid out in another way where its shape allows; "expanded" repeats one."""
    if layout == "channels_last" and x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed" and x.dim() == 2:
        return x.t().contiguous().t()
    if layout == "with gaps":
        return torch.stack([x, x], dim=-1)[..., 0]
    if layout == "expanded" and x.dim() > 0:
        return x.reshape(-1)[0].expand(x.shape)
    return x


@st.composite
def parameter_groups(draw):
    """One to three groups, each with a cap and up to three parameters, some without gradient."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    groups = []
    for _ in range(draw(st.integers(1, 3))):
        params = []
        for _ in range(draw(st.integers(0, 3))):
            shape, dtype = draw(shapes), draw(st.sampled_from(list(PRECISION)))
            value, grad = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
            # An expanded parameter cannot be updated in place.
            p = nn.Parameter(with_layout(value, draw(layouts.filter(lambda x: x != "expanded"))))
            if draw(st.booleans()) or draw(st.booleans()):
                p.grad = with_layout(grad, draw(layouts))
            params.append(p)
        groups.append({"params": params, "max_lr": draw(st.sampled_from([float("inf"), 0.01]))})
    return groups


def copied(groups):
    """Groups with copies of the parameters and gradients, in contiguous memory."""
    result = []
    for group in groups:
        params = []
        for p in group["params"]:
            params.append(nn.Parameter(p.detach().clone(memory_format=torch.contiguous_format)))
            params[-1].grad = None if p.grad is None else p.grad.contiguous()
        result.append({**group, "params": params})
    return result


@settings(max_examples=150, deadline=None, derandomize=True)
@given(parameter_groups(), st.floats(0, 10), st.sampled_from([0.0, 0.5]))
def test_step_agrees_with_the_reference(groups, loss, f_star):
    optimizer = CLR(groups, f_star=f_star)
    expected = copied(groups)
    before = copy.deepcopy(expected)
    ReferenceCLR(expected, f_star=f_star).step(loss)
    optimizer.step(loss=loss)
    for group, right, start in zip(groups, expected, before, strict=True):
        for p, q, s in zip(group["params"], right["params"], start["params"], strict=True):
            size = (q.double().abs() + s.double().abs()).max().item()
            moved = (q.double() - s.double()).abs().max().item()
            error = (p.double() - q.double()).abs().max().item()
            allowed = PRECISION[p.dtype] * size + NORM_ERROR * moved
            assert error <= allowed, (p.dtype, p.shape, error)
            if q.grad is None:
                assert torch.equal(p, s), "a parameter without gradient moved"


@pytest.mark.parametrize("channels_last", [False, True])
def test_step_of_resnet18_agrees_with_the_reference(channels_last):
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    torch.manual_seed(0)
    model = torchvision.models.resnet18().to(memory_format=memory_format)
    x = torch.randn(4, 3, 64, 64).contiguous(memory_format=memory_format)
    loss = cross_entropy(model(x), torch.tensor([1, 2, 3, 4]))
    loss.backward()
    params = list(model.parameters())
    norm_sq = sum(p.grad.double().square().sum().item() for p in params)
    (expected,) = copied([{"params": params}])
    ReferenceCLR(expected["params"]).step(loss)
    optimizer = CLR(params)
    optimizer.step(loss=loss)
    assert grad_norm_sq_of(optimizer) == pytest.approx(norm_sq, rel=1e-6)
    assert rate(optimizer) == pytest.approx(loss.item() / norm_sq, rel=1e-6)
    pairs = list(zip(params, expected["params"], strict=True))
    error = sum((p.double() - q.double()).square().sum() for p, q in pairs).sqrt()
    size = sum(q.double().square().sum() for _, q in pairs).sqrt()
    assert error <= 1e-6 * size
