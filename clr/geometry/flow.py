"""The gradient flow by SciPy's solver, and the flow that gradient descent follows more closely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from clr.geometry.derivatives import gradient
from clr.geometry.surfaces import Surface

# The solver's tolerances for the error of one of its steps. On the bowls, whose flow is known, they leave 1e-10.
RTOL, ATOL = 1e-11, 1e-13
# Gradients until the solver is given up, after some seconds. Smooth surfaces ask for hundreds or thousands; at the end
# of a corridor, where the gradient turns round, it would creep for ever.
MOST = 20_000


def gradient_flow(surface: Surface, start: Tensor, times: Sequence[float] | np.ndarray) -> Tensor:
    """The solution of θ̇ = −∇E(θ), θ(0) = start, at `times`, ascending and not below 0, by Dormand and Prince's DOP853.

    Args: `start` has shape (d,); the solution has shape (len(times), d), in float64. At creases the solver's steps
    become small, and the line is right.

    Raises:
        RuntimeError: if the flow cannot be followed to the last of `times`, because it ends before, where E has no
            gradient, as at E = 0 of a corridor, or because it is infinite.
    """
    span = (0.0, float(times[-1]))
    failed = f"the gradient flow cannot be followed to t = {span[1]:g}"
    left = MOST

    def velocity(time: float, theta: np.ndarray) -> np.ndarray:
        nonlocal left
        if (left := left - 1) < 0:
            raise RuntimeError(f"{failed}: it seems to end at t = {time:g}")
        return -gradient(surface, torch.from_numpy(theta)).numpy()

    found = solve_ivp(
        velocity, span, start.double().numpy(), "DOP853", t_eval=times, rtol=RTOL, atol=ATOL
    )
    if not found.success:
        raise RuntimeError(f"{failed}: {found.message}")
    return torch.from_numpy(found.y.T.copy())


def modified_loss(surface: Surface, rate: float) -> Surface:
    """Ẽ = E + (h/4)‖g‖², whose gradient flow θ̇ = −g − (h/2) Hg gradient descent of rate h follows up to O(h³) a step.

    Source: Barrett & Dherin, "Implicit Gradient Regularization" (ICLR 2021). In a corridor ‖g‖ is constant, and Ẽ and E
    have one flow.
    """

    def loss(theta: Tensor) -> Tensor:
        return surface(theta) + rate / 4 * gradient(surface, theta, create_graph=True).square().sum(
            -1
        )

    return loss
