"""First and second derivatives by autograd, of modules and of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def hvp(loss: Tensor, params: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
    """Hessian-vector product H v = ∇(g·v), by a backward pass through the backward pass.

    It sets no `.grad` and calls no hooks of DistributedDataParallel. Pass the loss of the unwrapped
    module, and average the products over ranks and micro-batches as gradients are averaged: H is
    the mean of their Hessians.

    Args:
        loss: 0-dim, with the graph of its forward pass, which is retained.
        params: tensors of any shapes with respect to which the loss is differentiated.
        vector: v, with the shapes, dtypes and devices of `params`; a constant.

    Returns:
        The parts of H v, one for each of `params`; zeros for a parameter on which the loss depends
        linearly or not at all.
    """
    params = list(params)
    grads = torch.autograd.grad(loss, params, create_graph=True, materialize_grads=True)
    # A constant gradient has no graph and adds nothing.
    curved = [(g, v) for g, v in zip(grads, vector, strict=True) if g.requires_grad]
    if not curved:
        return [torch.zeros_like(p) for p in params]
    gs, vs = zip(*curved, strict=True)
    return list(torch.autograd.grad(gs, params, vs, retain_graph=True, materialize_grads=True))


def gradient(
    surface: Callable[[Tensor], Tensor], theta: Tensor, create_graph: bool = False
) -> Tensor:
    """Gradient ∇E at each of the points θ, of their shape (..., d).

    With `create_graph` the result can be differentiated with respect to θ.
    """
    if not create_graph:
        theta = theta.detach().requires_grad_()
    # E at a point depends on that point alone: the gradient of the sum has the gradient of each.
    (g,) = torch.autograd.grad(surface(theta).sum(), theta, create_graph=create_graph)
    return g


def derivatives(
    surface: Callable[[Tensor], Tensor], theta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """E, shape (...), and g and H g, both of shape (..., d), at the points θ, shape (..., d)."""
    theta = theta.detach().requires_grad_()
    energy = surface(theta)
    (g,) = torch.autograd.grad(energy.sum(), theta, retain_graph=True)
    (hg,) = hvp(energy.sum(), [theta], [g])
    return energy.detach(), g, hg
