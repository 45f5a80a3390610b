"""How far a point is from lying in a corridor. All measures but κ and ‖Hg‖ are those of one step of rate h."""

from __future__ import annotations

import torch
from torch import Tensor

from clr.geometry.derivatives import derivatives
from clr.geometry.flow import gradient_flow
from clr.geometry.surfaces import Surface


def measures(
    loss: Tensor, after: Tensor, grad_norm: Tensor, hg_norm: Tensor, rate: Tensor
) -> dict[str, Tensor]:
    """The corridor measures from what a step knows: all 0 in a corridor, as far as the step stays inside.

        hg_norm           ‖Hg‖, the speed at which the gradient changes along the flow (Lemma 2.8)
        turn              h‖Hg‖ / ‖g‖, how much of itself the gradient changes over the step
        linearity_defect  |E(θ − hg) − (E − h‖g‖²)| / (h‖g‖²), how far the loss is from falling linearly
        correction        (h/2)‖Hg‖, the size of the implicit regularisation: the flow that gradient descent follows
                          is θ̇ = −g − (h/2) Hg + O(h²) (Barrett & Dherin, ICLR 2021)
        kappa             κ = E‖Hg‖ / ‖g‖³, the turn over CLR's step: free of units, and of the rate

    Args: E(θ), E(θ − hg), ‖g‖, ‖Hg‖ and h, real tensors of one shape; the measures have that shape. All are of one
    function: for training, the loss of one batch. Where ‖g‖ or h is 0 they are inf or nan.
    """
    return {
        "hg_norm": hg_norm,
        "turn": rate * hg_norm / grad_norm,
        "linearity_defect": (1 - fall(loss, after, grad_norm, rate)).abs(),
        "correction": rate / 2 * hg_norm,
        "kappa": loss * hg_norm / grad_norm**3,
    }


def fall(loss: Tensor, after: Tensor, grad_norm: Tensor, rate: Tensor) -> Tensor:
    """R = [E(θ) − E(θ − hg)] / (h‖g‖²), what the step won of what a linear loss would have given: 1 in a corridor."""
    return (loss - after) / (rate * grad_norm**2)


def at(surface: Surface, theta: Tensor, rate: float) -> dict[str, float]:
    """The measures of a step of `rate` on `surface` from the point θ, shape (d,), and one more that needs the flow:

    drift   ‖θ_GD − θ_GF‖ / (h‖g‖), how far the step ends from the gradient flow after time h, in lengths of the step
    """
    energy, g, hg = derivatives(surface, theta)
    stepped = theta - rate * g
    norm = torch.linalg.vector_norm(g)
    found = measures(
        energy, surface(stepped), norm, torch.linalg.vector_norm(hg), theta.new_tensor(rate)
    )
    found["drift"] = torch.linalg.vector_norm(
        stepped - gradient_flow(surface, theta, [rate])[0]
    ) / (rate * norm)
    return {name: float(value) for name, value in found.items()}
