"""Measures of the distance from a corridor, of one gradient step of rate h."""

from __future__ import annotations

import torch
from torch import Tensor

from clr.geometry.derivatives import derivatives
from clr.geometry.flow import gradient_flow
from clr.geometry.surfaces import Surface


def measures(
    loss: Tensor, after: Tensor, grad_norm: Tensor, hg_norm: Tensor, rate: Tensor
) -> dict[str, Tensor]:
    """Corridor measures of a step; all are 0 if the step stays in a corridor.

        hg_norm           ‖Hg‖, the speed at which the gradient changes along the flow (Lemma 2.8)
        turn              h‖Hg‖ / ‖g‖, the relative change of the gradient over the step
        linearity_defect  |E(θ − hg) − (E − h‖g‖²)| / (h‖g‖²), the deviation from a linear decrease
        correction        (h/2)‖Hg‖, the size of the implicit regularization: gradient descent
                          follows θ̇ = −g − (h/2) Hg + O(h²) (Barrett & Dherin, ICLR 2021)
        kappa             κ = E‖Hg‖ / ‖g‖³, the turn over a step of CLR; without unit and rate

    Args:
        loss, after, grad_norm, hg_norm, rate: E(θ), E(θ − hg), ‖g‖, ‖Hg‖ and h: real tensors of one
            shape, of one function. In training this is the loss of one batch.

    Returns:
        Tensors of that shape; inf or nan where ‖g‖ or h is 0.
    """
    return {
        "hg_norm": hg_norm,
        "turn": rate * hg_norm / grad_norm,
        "linearity_defect": (1 - fall(loss, after, grad_norm, rate)).abs(),
        "correction": rate / 2 * hg_norm,
        "kappa": loss * hg_norm / grad_norm**3,
    }


def fall(loss: Tensor, after: Tensor, grad_norm: Tensor, rate: Tensor) -> Tensor:
    """Ratio of the actual to the linearly predicted decrease of the loss; 1 in a corridor.

    R = [E(θ) − E(θ − hg)] / (h‖g‖²), from tensors of one shape.
    """
    return (loss - after) / (rate * grad_norm**2)


def step_measures(surface: Surface, theta: Tensor, rate: float) -> dict[str, float]:
    """The `measures` of a step on `surface` from the point θ, shape (d,), and its drift.

        drift             ‖θ_GD − θ_GF‖ / (h‖g‖), the distance of the step's end from the gradient
                          flow after time h, in lengths of the step

    Raises:
        RuntimeError: if the gradient flow cannot be followed for this time.
    """
    energy, g, hg = derivatives(surface, theta)
    stepped = theta - rate * g
    g_norm, hg_norm = torch.linalg.vector_norm(g), torch.linalg.vector_norm(hg)
    result = measures(energy, surface(stepped), g_norm, hg_norm, theta.new_tensor(rate))
    (flowed,) = gradient_flow(surface, theta, [rate])
    result["drift"] = torch.linalg.vector_norm(stepped - flowed) / (rate * g_norm)
    return {name: float(value) for name, value in result.items()}
