"""The optimizers of clr.methods, each with its formula written plainly, and a problem for them.

A plain step is a function (state, loss, xs, gs, caps) → rates in float64. `state` is a dict that
is empty before the first step; `xs` and `gs` are one flat tensor for each parameter group, and `xs`
is changed in place; `caps` has the cap of each group.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clr.geometry import hvp
from clr.methods import ALIG, DAL, NGN, MoMo, PolyakSGD, SPSMax


@dataclass(frozen=True)
class Case:
    """An optimizer, built from its parameters or groups, with its plain step and its own cap."""

    name: str
    build: Callable
    plain: Callable
    cap: float = math.inf


def plain_polyak(c=1.0, delta=0.0, growth=None, mu=0.0, nesterov=False, decay=0.0, estimate=False):
    def step(state, loss, xs, gs, caps):
        norm_sq = sum(float(g @ g) for g in gs)
        f_star = state.get("f_star", 0.0) if estimate else 0.0
        f_star = loss / 2 if loss < f_star else f_star
        h = (loss - f_star) / (c * norm_sq + delta)
        if growth is not None:
            h = min(h, growth * state.get("h", 1.0))
        rates = [min(h, cap) for cap in caps]
        state["h"] = max(rates)
        state["f_star"] = max(loss - state["h"] * norm_sq / 2, 0.0)
        vs = state.setdefault("v", [torch.zeros_like(x) for x in xs])
        for i, (x, g, rate) in enumerate(zip(xs, gs, rates, strict=True)):
            vs[i] = mu * vs[i] - rate * g
            x += mu * vs[i] - rate * g if nesterov else vs[i]
            x /= 1 + rate * decay
        return rates

    return step


def plain_ngn(c):
    def step(state, loss, xs, gs, caps):
        h = c / (1 + c / (2 * loss) * sum(float(g @ g) for g in gs))
        rates = [min(h, cap) for cap in caps]
        for x, g, rate in zip(xs, gs, rates, strict=True):
            x -= rate * g
        return rates

    return step


def plain_dal(power):
    def step(state, loss, xs, gs, caps):
        rates = [min(2 / state["curvature"] ** power, cap) for cap in caps]
        for x, g, rate in zip(xs, gs, rates, strict=True):
            x -= rate * g
        return rates

    return step


def plain_momo(beta):
    """With the inner products of the paper, which the optimizer replaces by a recursion."""

    def step(state, loss, xs, gs, caps):
        new = {"f": loss, "gamma": float(torch.cat(gs) @ torch.cat(xs)), "d": torch.cat(gs)}
        for key, value in new.items():
            state[key] = beta * state.get(key, value) + (1 - beta) * value
        d = state["d"]
        model = state["f"] + float(d @ torch.cat(xs)) - state["gamma"]
        h = max(model, 0.0) / float(d @ d)
        rates = [min(h, cap) for cap in caps]
        parts = d.split([len(x) for x in xs])
        for x, part, rate in zip(xs, parts, rates, strict=True):
            x -= rate * part
        return rates

    return step


def polyak(**options):
    return lambda params: PolyakSGD(params, **options)


CASES = [
    Case("clr", PolyakSGD, plain_polyak()),
    Case("sps half", lambda ps: SPSMax(ps, max_lr=0.2), plain_polyak(c=0.5), cap=0.2),
    Case("sps", lambda ps: SPSMax(ps, c=1.0, max_lr=0.1), plain_polyak(), cap=0.1),
    Case("sps smooth", lambda ps: SPSMax(ps, cap_growth=1.2), plain_polyak(c=0.5, growth=1.2)),
    Case("alig", lambda ps: ALIG(ps, delta=0.5), plain_polyak(delta=0.5), cap=0.1),
    Case(
        "alig momentum",
        lambda ps: ALIG(ps, momentum=0.9),
        plain_polyak(delta=1e-5, mu=0.9, nesterov=True),
        cap=0.1,
    ),
    Case("ngn", lambda ps: NGN(ps, c=0.3), plain_ngn(c=0.3)),
    Case("momo", MoMo, plain_momo(beta=0.9), cap=1.0),
    Case("momo uncapped", lambda ps: MoMo(ps, None, beta=0.5), plain_momo(beta=0.5)),
    Case("dal", lambda ps: DAL(ps, max_lr=0.8), plain_dal(power=0.5), cap=0.8),
    Case("dal, power 1", lambda ps: DAL(ps, power=1.0), plain_dal(power=1.0), cap=5.0),
    Case("scale", polyak(c=2.0), plain_polyak(c=2.0)),
    Case("growth", polyak(cap_growth=1.05), plain_polyak(growth=1.05)),
    Case("momentum", polyak(momentum=0.5), plain_polyak(mu=0.5)),
    Case("weight decay", polyak(weight_decay=0.1), plain_polyak(decay=0.1)),
    Case(
        "estimate", polyak(estimate_f_star=True, max_lr=0.1), plain_polyak(estimate=True), cap=0.1
    ),
    Case(
        "estimate, long steps",
        polyak(estimate_f_star=True, c=0.4),
        plain_polyak(estimate=True, c=0.4),
    ),
    Case(
        "all options",
        polyak(c=1.5, cap_growth=1.1, momentum=0.8, weight_decay=0.01, estimate_f_star=True),
        plain_polyak(c=1.5, growth=1.1, mu=0.8, decay=0.01, estimate=True),
    ),
]


def build_model(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """A network of two layers with biases."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)


def batch(step: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a step; those of different steps differ."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    return x.to(dtype), y.to(dtype)


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (model(x) - y).square().mean()


def curvature(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """‖Hg‖ / ‖g‖ of the loss of a batch."""
    params = list(model.parameters())
    with torch.enable_grad():
        g = torch.autograd.grad(loss_of(model, x, y), params)
        hg = hvp(loss_of(model, x, y), params, g)
    norm, hg_norm = (torch.cat([t.flatten() for t in ts]).norm() for ts in (g, hg))
    return hg_norm / norm


def give_curvature(optimizer: torch.optim.Optimizer, model: nn.Module, x: Tensor, y: Tensor):
    """Give the curvature of a step on the batch to an optimizer that needs it."""
    if hasattr(optimizer, "set_curvature"):
        optimizer.set_curvature(curvature(model, x, y))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps) -> list[list[float]]:
    """Train on the batches of `steps`; return the rates of each group after each of them."""
    rates = []
    dtype = next(model.parameters()).dtype
    for step in steps:
        optimizer.zero_grad()
        loss = loss_of(model, *batch(step, dtype))
        loss.backward()
        give_curvature(optimizer, model, *batch(step, dtype))
        optimizer.step(loss=loss)
        rates.append([group["lr"].item() for group in optimizer.param_groups])
    return rates


def train_plainly(case: Case, model: nn.Module, groups: list[list[nn.Parameter]], caps, steps):
    """The same by the plain step of a case, for float64 models; changes the model's parameters."""
    state, rates = {}, []
    for step in steps:
        params = [p for group in groups for p in group]
        loss = loss_of(model, *batch(step))
        state["curvature"] = float(curvature(model, *batch(step)))
        grads = iter(torch.autograd.grad(loss, params))
        gs = [torch.cat([next(grads).flatten() for _ in group]) for group in groups]
        xs = [nn.utils.parameters_to_vector(group).detach().clone() for group in groups]
        rates.append(case.plain(state, loss.item(), xs, gs, caps))
        for x, group in zip(xs, groups, strict=True):
            nn.utils.vector_to_parameters(x, group)
    return rates
