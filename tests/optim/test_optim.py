"""The optimizer against its formula, and at the edges of its domain."""

import copy
import math

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy

from clr import CLR
from clr.optim import grad_norm_sq


def with_grads(*grads):
    params = [nn.Parameter(torch.ones_like(g)) for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = g.clone()
    return params


def resnet_with_grads(name, size, channels_last=False):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)()
    x = torch.randn(4, 3, size, size)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    loss = cross_entropy(model(x), torch.tensor([1, 2, 3, 4]))
    loss.backward()
    return list(model.parameters()), loss.detach()


def float64_step(params, loss, f_star=0.0, max_lr=math.inf):
    n2 = sum(p.grad.double().square().sum().item() for p in params)
    h = min((float(loss) - f_star) / n2, max_lr)
    return h, [p.detach().double() - h * p.grad.double() for p in params]


@pytest.mark.parametrize("channels_last", [False, True])
def test_one_step_of_resnet50_agrees_with_the_float64_formula(channels_last):
    params, loss = resnet_with_grads("resnet50", 64, channels_last)
    n2 = sum(p.grad.double().square().sum().item() for p in params)
    h, expected = float64_step(params, loss)
    before = [p.detach().double().clone() for p in params]
    optimizer = CLR(params)
    optimizer.step(loss=loss)
    group = optimizer.param_groups[0]
    assert group["grad_norm_sq"].item() == pytest.approx(n2, rel=1e-6)
    assert group["lr"].item() == pytest.approx(h, rel=1e-6)
    error = math.sqrt(
        sum((p.double() - e).square().sum().item() for p, e in zip(params, expected, strict=True))
    )
    moved = math.sqrt(
        sum((e - b).square().sum().item() for e, b in zip(expected, before, strict=True))
    )
    size = math.sqrt(sum(e.square().sum().item() for e in expected))
    assert error <= 1e-6 * max(moved, size)


def test_norm_of_a_long_row_is_right_where_a_plain_float32_sum_is_not():
    g = torch.rand(30_000_000, generator=torch.Generator().manual_seed(0)) + 0.5
    reference = g.double().square().sum().item()
    assert grad_norm_sq([g]).item() == pytest.approx(reference, rel=1e-7)
    assert abs(torch.linalg.vector_norm(g).double().square().item() / reference - 1) > 1e-6


def test_bf16_gradients_are_summed_in_float32():
    g = torch.rand(10_000, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert grad_norm_sq([g]).item() == pytest.approx(g.double().square().sum().item(), rel=1e-6)


def test_loss_may_be_tensor_float_or_closure():
    rates = []
    for how in ("tensor", "float", "closure"):
        p = nn.Parameter(torch.tensor([3.0, 4.0]))
        optimizer = CLR([p])

        def closure(p=p, optimizer=optimizer):
            optimizer.zero_grad()
            loss = 0.5 * p.square().sum()
            loss.backward()
            return loss

        if how == "closure":
            with torch.no_grad():  # step must enable gradients for the closure
                returned = optimizer.step(closure)
        else:
            loss = closure()
            returned = optimizer.step(loss=loss if how == "tensor" else loss.item())
        assert float(returned.detach() if how != "float" else returned) == 12.5
        # E/‖g‖² = 1/2 on this bowl: half of the way, a quarter of the loss
        assert torch.allclose(p.detach(), torch.tensor([1.5, 2.0]))
        rates.append(optimizer.param_groups[0]["lr"].item())
    assert rates == pytest.approx([0.5] * 3)


@pytest.mark.parametrize(
    "bad", [{}, {"closure": lambda: 1.0, "loss": 1.0}, {"loss": torch.ones(2)}]
)
def test_step_without_one_loss_is_refused(bad):
    with pytest.raises(ValueError, match="loss"):
        CLR(with_grads(torch.ones(2))).step(**bad)


def test_cap_and_f_star():
    for f_star, cap, expected in [
        (0.0, None, 1.5),
        (1.0, None, 1.0),
        (0.0, 0.25, 0.25),
        (1.0, 10.0, 1.0),
    ]:
        (p,) = with_grads(torch.tensor([1.0, 1.0]))
        optimizer = CLR([p], f_star=f_star, max_lr=cap)
        optimizer.step(loss=3.0)
        assert optimizer.param_groups[0]["lr"].item() == pytest.approx(expected, rel=1e-6)
        assert torch.allclose(p.detach(), torch.ones(2) - expected)


def test_one_norm_over_all_groups_and_a_cap_for_each():
    a, b, c = with_grads(torch.full((3,), 2.0), torch.full((2, 2), 1.0), torch.full((4,), 2.0))
    optimizer = CLR([{"params": [a]}, {"params": [b], "max_lr": 0.05}])
    optimizer.add_param_group({"params": [c]})
    optimizer.step(loss=16.0)
    assert [g["lr"].item() for g in optimizer.param_groups] == pytest.approx([0.5, 0.05, 0.5])
    assert torch.allclose(a, torch.zeros(3), atol=1e-6) and torch.allclose(
        b, torch.full((2, 2), 0.95)
    )


@pytest.mark.parametrize(("loss", "grad"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0)])
def test_loss_below_f_star_or_zero_gradient_gives_rate_zero_and_is_no_skip(loss, grad):
    (p,) = with_grads(torch.full((3,), grad))
    optimizer = CLR([p])
    optimizer.step(loss=loss)
    assert (
        optimizer.param_groups[0]["lr"].item() == 0
        and optimizer.param_groups[0]["skipped"].item() == 0
    )
    assert torch.equal(p.detach(), torch.ones(3))


@pytest.mark.parametrize("max_lr", [None, 10.0])
@pytest.mark.parametrize(
    ("loss", "grad"),
    [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf), (-math.inf, 1.0)],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_non_finite_loss_or_norm_leaves_parameters_and_is_counted(loss, grad, max_lr, transposed):
    (p,) = with_grads(torch.ones(3, 2))
    if transposed:
        p.grad = torch.ones(
            2, 3
        ).t()  # the path for gradients laid out otherwise than their parameter
    p.grad[0, 0] = grad
    optimizer = CLR([p], max_lr=max_lr)
    optimizer.step(loss=loss)
    assert torch.equal(p.detach(), torch.ones(3, 2))
    assert (
        optimizer.param_groups[0]["lr"].item() == 0
        and optimizer.param_groups[0]["skipped"].item() == 1
    )
    p.grad.fill_(1.0)
    optimizer.step(loss=6.0)
    assert optimizer.param_groups[0]["skipped"].item() == 1 and torch.allclose(
        p.detach(), torch.zeros(3, 2), atol=1e-6
    )


def test_parameters_without_gradient_stay():
    a, b = with_grads(torch.ones(2), torch.ones(2))
    b.grad = None
    optimizer = CLR([a, b])
    optimizer.step(loss=1.0)
    assert optimizer.param_groups[0]["lr"].item() == pytest.approx(0.5) and torch.equal(
        b.detach(), torch.ones(2)
    )
    a.grad = None
    optimizer.step(loss=1.0)
    assert optimizer.param_groups[0]["lr"].item() == 0


@pytest.mark.parametrize(
    "layout",
    [
        "contiguous gradient of a channels_last parameter",
        "the reverse",
        "parameter with gaps",
        "expanded gradient",
    ],
)
def test_mixed_memory_layouts(layout):
    g = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(0))
    values = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(1))
    if layout == "contiguous gradient of a channels_last parameter":
        p = nn.Parameter(values.to(memory_format=torch.channels_last))
    elif layout == "parameter with gaps":
        p = nn.Parameter(torch.stack([values, values], dim=-1)[..., 0])
    else:
        p = nn.Parameter(values.clone())
    if layout == "the reverse":
        g = g.to(memory_format=torch.channels_last)
    if layout == "expanded gradient":
        g = torch.tensor(0.5).expand(4, 3, 5, 2)
    p.grad = g
    _, (expected,) = float64_step([p], 2.0)
    CLR([p]).step(loss=2.0)
    assert torch.allclose(p.double(), expected, rtol=0, atol=1e-6)


def test_bf16_parameters():
    p = nn.Parameter(torch.ones(100, dtype=torch.bfloat16))
    p.grad = torch.full((100,), 0.5, dtype=torch.bfloat16)
    optimizer = CLR([p])
    optimizer.step(loss=torch.tensor(6.25, dtype=torch.bfloat16))
    assert optimizer.param_groups[0]["lr"].item() == pytest.approx(0.25)
    assert torch.equal(p.detach().float(), torch.full((100,), 0.875))


def test_what_it_cannot_do_is_refused():
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse=False"):
        CLR(embedding.parameters()).step(loss=1.0)
    with pytest.raises(ValueError, match="complex"):
        CLR([nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    with pytest.raises(ValueError, match="max_lr"):
        CLR(with_grads(torch.ones(1)), max_lr=-1.0)
    with pytest.raises(ValueError, match="f_star"):
        CLR([{"params": with_grads(torch.ones(1)), "f_star": 1.0}])
    with pytest.raises(ValueError, match="lr"):
        CLR([{"params": with_grads(torch.ones(1)), "lr": 1.0}])


def test_grad_scaler_with_the_unscaled_loss():
    def run(scale):
        p = nn.Parameter(torch.tensor([3.0, 4.0]))
        optimizer, scaler = CLR([p]), torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scale)
        loss = 0.5 * p.square().sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer, loss=loss.detach())
        scaler.update()
        return p.detach(), optimizer.param_groups[0]["lr"].item()

    (p, lr), (q, rate) = run(False), run(True)
    assert torch.equal(p, q) and lr == rate == pytest.approx(0.5)


def test_continuing_from_state_dict_is_bit_exact(tmp_path):
    def steps(model, optimizer, n):
        for _ in range(n):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            if optimizer.param_groups[0]["skipped"].item() == 0:
                loss = loss * math.nan  # one skipped step early on: its count must survive
            optimizer.step(loss=loss)

    torch.manual_seed(0)
    x = torch.randn(16, 8)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    straight = copy.deepcopy(model)
    optimizer = CLR(straight.parameters(), max_lr=0.7)
    steps(straight, optimizer, 6)

    first = CLR(model.parameters(), max_lr=0.7)
    steps(model, first, 3)
    torch.save(
        {"model": model.state_dict(), "optimizer": first.state_dict()}, tmp_path / "state.pt"
    )
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    resumed.load_state_dict(state["model"])
    second = CLR(resumed.parameters())
    second.load_state_dict(state["optimizer"])
    assert torch.equal(second.param_groups[0]["lr"], first.param_groups[0]["lr"])
    steps(resumed, second, 3)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (
        second.param_groups[0]["skipped"].item() == optimizer.param_groups[0]["skipped"].item() == 1
    )
    assert second.param_groups[0]["max_lr"] == 0.7


def test_accumulated_micro_batches_are_the_whole_batch():
    torch.manual_seed(0)
    x, y = torch.randn(32, 5), torch.randn(32, 1)
    whole, parts = nn.Linear(5, 1), nn.Linear(5, 1)
    parts.load_state_dict(whole.state_dict())
    a, b = CLR(whole.parameters()), CLR(parts.parameters())
    loss = (whole(x) - y).square().mean()
    loss.backward()
    a.step(loss=loss)
    total = torch.zeros(())
    for xs, ys in zip(x.split(8), y.split(8), strict=True):
        micro = (parts(xs) - ys).square().mean() / 4
        micro.backward()
        total += micro.detach()
    b.step(loss=total)
    assert a.param_groups[0]["lr"].item() == pytest.approx(b.param_groups[0]["lr"].item(), rel=1e-6)
    assert torch.allclose(whole.weight, parts.weight, rtol=1e-6)
