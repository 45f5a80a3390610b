"""Hessian-vector products and corridor measures, as training uses them."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from clr.geometry import hvp, measures


def convolutional():
    """A small network with the layers of a ResNet, in float64, and a batch for it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    ).double()
    return model, torch.randn(8, 3, 6, 6, dtype=torch.float64), torch.randint(3, (8,))


def like(params, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in params]


@pytest.mark.parametrize("channels_last", [False, True])
def test_hvp_of_a_module_is_the_hessian_times_the_vector(channels_last):
    model, x, y = convolutional()
    if channels_last:
        model, x = (
            model.to(memory_format=torch.channels_last),
            x.to(memory_format=torch.channels_last),
        )
    params = list(model.parameters())
    names = [name for name, _ in model.named_parameters()]

    def loss_of(*values):
        return cross_entropy(
            torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,)), y
        )

    v = like(params, 1)
    hessian = torch.autograd.functional.hessian(loss_of, tuple(params))
    expected = [
        sum(torch.tensordot(h, b, b.dim()) for h, b in zip(row, v, strict=True)) for row in hessian
    ]
    products = hvp(cross_entropy(model(x), y), params, v)
    # Both sum a few hundred float64 products: 1e-12 allows a thousand rounding errors.
    for p, product, right in zip(params, products, expected, strict=True):
        assert product.shape == p.shape
        assert torch.allclose(product, right, rtol=1e-12, atol=1e-12)
    assert all(p.grad is None for p in params), "hvp must not set .grad"
    assert sum(e.abs().sum() for e in expected) > 1, "the example has no curvature"


def test_hvp_retains_the_graph_of_the_loss():
    model, x, y = convolutional()
    params = list(model.parameters())
    loss = cross_entropy(model(x), y)
    first = hvp(loss, params, like(params, 1))
    second = hvp(loss, params, like(params, 1))
    loss.backward()
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert params[0].grad is not None


def test_hvp_is_zero_for_parameters_without_curvature():
    a, b, unused = (torch.ones(n, dtype=torch.float64, requires_grad=True) for n in (2, 3, 4))
    v = [2 * torch.ones_like(p) for p in (a, b, unused)]
    linear = a.sum() + 3 * b.sum()
    assert [p.tolist() for p in hvp(linear, [a, b, unused], v)] == [[0, 0], [0, 0, 0], [0, 0, 0, 0]]
    partly = a.pow(3).sum() + b.sum()  # H = 6 on a's diagonal
    assert [p.tolist() for p in hvp(partly, [a, b, unused], v)] == [
        [12, 12],
        [0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_hvp_of_a_batch_is_the_mean_over_its_micro_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    x, y = torch.randn(12, 5, dtype=torch.float64), torch.randint(3, (12,))
    params = list(model.parameters())
    v = like(params, 2)
    whole = hvp(cross_entropy(model(x), y), params, v)
    parts = [
        hvp(cross_entropy(model(xs), ys), params, v)
        for xs, ys in zip(x.split(4), y.split(4), strict=True)
    ]
    for i, product in enumerate(whole):
        assert torch.allclose(product, sum(part[i] for part in parts) / 3, rtol=1e-12, atol=1e-14)


def test_measures_of_a_bowl_by_hand():
    # E = ½‖θ‖² at (3, 4): E = 12.5, g = Hg = θ; a step of 0.1 leaves E = 0.81 · 12.5
    given = (torch.tensor(x, dtype=torch.float64) for x in (12.5, 0.81 * 12.5, 5.0, 5.0, 0.1))
    expected = {
        "hg_norm": 5.0,
        "turn": 0.1,
        "linearity_defect": 0.05,
        "correction": 0.25,
        "kappa": 0.5,
    }
    assert {name: value.item() for name, value in measures(*given).items()} == pytest.approx(
        expected, rel=1e-12
    )
