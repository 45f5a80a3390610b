"""Gradient flow, by SciPy's solver, and the flow that gradient descent follows more closely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from clr.geometry.derivatives import gradient
from clr.geometry.surfaces import Surface

# Tolerances for the error of one step of the solver. On bowls, whose flow is known, the result is
# accurate to 1e-10.
RTOL, ATOL = 1e-11, 1e-13
# Gradients before the solver is stopped, after some seconds. Smooth surfaces take hundreds or
# thousands. At the end of a corridor, where the gradient reverses, the solver would never finish.
MAX_GRADIENTS = 20_000


def gradient_flow(surface: Surface, start: Tensor, times: Sequence[float] | np.ndarray) -> Tensor:
    """Solution of θ̇ = −∇E(θ), θ(0) = start, by the method DOP853 of Dormand and Prince.

    At creases of E the solver's steps become small; the solution is accurate there, too.

    Args:
        start: shape (d,).
        times: at least one, ascending, not negative.

    Returns:
        θ at `times`, shape (len(times), d), float64.

    Raises:
        RuntimeError: if the flow ends before the last of `times`, where E has no gradient (as at
            E = 0 in a corridor), or becomes infinite.
    """
    span = (0.0, float(times[-1]))
    failure = f"the gradient flow cannot be followed to t = {span[1]:g}"
    gradients = 0

    def velocity(time: float, theta: np.ndarray) -> np.ndarray:
        nonlocal gradients
        gradients += 1
        if gradients > MAX_GRADIENTS:
            raise RuntimeError(f"{failure}: it seems to end at t = {time:g}; use earlier times")
        return -gradient(surface, torch.from_numpy(theta)).numpy()

    # Imported here: it takes half a second, and training uses the other functions alone.
    from scipy.integrate import solve_ivp

    y0 = start.double().numpy()
    solution = solve_ivp(velocity, span, y0, "DOP853", t_eval=times, rtol=RTOL, atol=ATOL)
    if not solution.success:
        raise RuntimeError(f"{failure}: {solution.message} Use earlier times")
    return torch.from_numpy(solution.y.T.copy())


def modified_loss(surface: Surface, rate: float) -> Surface:
    """Modified loss Ẽ = E + (h/4)‖g‖² of gradient descent with rate h.

    Its gradient flow θ̇ = −g − (h/2) Hg is followed by gradient descent up to O(h³) per step. In a
    corridor ‖g‖ is constant, and Ẽ and E have the same flow.

    Source: Barrett & Dherin, "Implicit Gradient Regularization" (ICLR 2021).
    """

    def loss(theta: Tensor) -> Tensor:
        g = gradient(surface, theta, create_graph=True)
        return surface(theta) + rate / 4 * g.square().sum(-1)

    return loss
