"""Loss surfaces in closed form: corridors, surfaces that are none, and one glued from several corridors.

Hg = ½∇‖g‖², so a connected smooth region is a corridor if and only if ‖g‖ is constant there (the eikonal equation):

    linear pieces, and  E(θ) = c · (distance of θ to a set)  wherever one point of the set is the nearest.

A surface is called with points θ, shape (..., d), and returns E, shape (...), in their dtype; it can be differentiated
twice wherever E is smooth. A corridor with c > 0 has no critical point, so E is not differentiable where it reaches 0.
`zero` is a point, shape (d,), where E = 0: a minimum, except where a formula goes on below 0 (Plane, Strips), which are
losses only where E ≥ 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from clr.geometry.curves import Curve


class Surface(Protocol):
    def __call__(self, theta: Tensor, /) -> Tensor: ...


def _tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Corridors


@dataclass(frozen=True)
class Plane:
    """E = a·θ + b, for a ≠ 0: the corridor of a linear piece, ‖g‖ = ‖a‖."""

    a: tuple[float, ...]
    b: float

    def __call__(self, theta: Tensor) -> Tensor:
        return theta @ theta.new_tensor(self.a) + self.b

    @property
    def zero(self) -> Tensor:
        a = _tensor(*self.a)
        return -self.b * a / a.square().sum()


@dataclass(frozen=True)
class Tube:
    """E = c · distance to the affine subspace through `point` along orthonormal `directions`: a cone if there are none.

    ‖g‖ = c everywhere but on the subspace.
    """

    c: float
    point: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...] = ()

    def __call__(self, theta: Tensor) -> Tensor:
        away = theta - theta.new_tensor(self.point)
        if self.directions:
            along = theta.new_tensor(self.directions)
            away = away - away @ along.mT @ along
        return self.c * torch.linalg.vector_norm(away, dim=-1)

    @property
    def zero(self) -> Tensor:
        return _tensor(*self.point)


@dataclass(frozen=True)
class Ring:
    """E = c · distance to the sphere of `radius` R about 0 in the first `k` of θ's d coordinates.

    For k = d it is c·abs(‖θ‖ − R); for k = 2 and d = 3 the distance to a circle, c·√((√(x² + y²) − R)² + z²).
    ‖g‖ = c everywhere but on the sphere and where the first k coordinates are 0.
    """

    c: float
    radius: float
    k: int
    d: int

    def __call__(self, theta: Tensor) -> Tensor:
        off = torch.linalg.vector_norm(theta[..., : self.k], dim=-1, keepdim=True) - self.radius
        return self.c * torch.linalg.vector_norm(
            torch.cat([off, theta[..., self.k :]], dim=-1), dim=-1
        )

    @property
    def zero(self) -> Tensor:
        return _tensor(self.radius, *[0.0] * (self.d - 1))


@dataclass(frozen=True)
class Ruled:
    """E = c · distance to a plane curve γ (Figure 1a): over the curve's normals n stand straight lines of slope c,

        (s, u) ↦ (γ(s) + u n(s), c·u),   0 < u < `curve.reach`,

    a developable ruled surface. ‖g‖ = c. Beyond the reach normals meet, and the nearest point is another.
    """

    c: float
    curve: Curve

    def __call__(self, theta: Tensor) -> Tensor:
        return self.c * torch.linalg.vector_norm(
            theta - self.curve.point(self.curve.nearest(theta)), dim=-1
        )

    def over(self, s: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """θ, shape (..., 2), and E, shape (...), at the parameters s and u of one shape; u < 0 is the other side."""
        return self.curve.point(s) + u[..., None] * self.curve.normal(s), self.c * u.abs()

    @property
    def zero(self) -> Tensor:
        return self.curve.point(_tensor(1.0))[0]


# Several corridors


@dataclass(frozen=True)
class Strips:
    """Planes of slopes c₁, c₂, … over strips of width 1, glued along the creases x = 1, 2, … (Figure 1b):

        E = p·y + q₁ min(x, 1) + q₂ clip(x − 1, 0, 1) + … + qₙ max(x − n + 1, 0),   qᵢ = √(cᵢ² − p²)

    Each strip is a corridor. p, the slope along the creases, is that of all, so that a line of steepest descent bends
    at a crease as light does: c₁ sin α₁ = c₂ sin α₂ for its angles α with the normal of the crease.
    """

    p: float
    c: tuple[float, ...]

    def __call__(self, theta: Tensor) -> Tensor:
        x, y = theta.unbind(-1)
        last = len(self.c) - 1
        energy = self.p * y
        for i, q in enumerate(self.across):
            energy = energy + q * (x.clamp(i if i else None, i + 1 if i < last else math.inf) - i)
        return energy

    @property
    def across(self) -> list[float]:
        """The slopes q across the strips."""
        return [math.sqrt(c**2 - self.p**2) for c in self.c]

    @property
    def zero(self) -> Tensor:
        return _tensor(0.0, 0.0)

    def steepest_descent(self, start: Tensor) -> Tensor:
        """The line of steepest descent from `start`, shape (2,), to where E = 0: its corners, shape (corners, 2)."""
        corners = [start]
        while (energy := float(self(corners[-1]))) > 1e-12:
            x = float(corners[-1][0])
            i = min(
                max(math.ceil(x) - 1, 0), len(self.c) - 1
            )  # on a crease the strip to its left is ahead
            q = self.across[i]
            time = energy / self.c[i] ** 2
            if i > 0:
                time = min(time, (x - i) / q)
            after = corners[-1] - time * start.new_tensor([q, self.p])
            if i > 0 and time == (x - i) / q:
                after[0] = i  # exactly, or the rounding would leave a sliver of this strip
            corners.append(after)
        return torch.stack(corners)


# No corridors


@dataclass(frozen=True)
class Bowl:
    """E = ½ Σ λᵢ θᵢ². With equal λ the flow's lines are straight, but it slows down: Hg = λ²θ ≠ 0, no corridor."""

    curvatures: tuple[float, ...]

    def __call__(self, theta: Tensor) -> Tensor:
        return 0.5 * (theta.new_tensor(self.curvatures) * theta.square()).sum(-1)

    @property
    def zero(self) -> Tensor:
        return torch.zeros(len(self.curvatures), dtype=torch.float64)


@dataclass(frozen=True)
class Power:
    """E = ‖θ‖^p in d dimensions: κ = (p − 1)/p everywhere but at 0."""

    p: float
    d: int

    def __call__(self, theta: Tensor) -> Tensor:
        return torch.linalg.vector_norm(theta, dim=-1) ** self.p

    @property
    def zero(self) -> Tensor:
        return torch.zeros(self.d, dtype=torch.float64)


@dataclass(frozen=True)
class Product:
    """E = abs(w₁w₂ − 1): a linear network with one hidden unit, one sample and the absolute loss."""

    def __call__(self, theta: Tensor) -> Tensor:
        return (theta[..., 0] * theta[..., 1] - 1).abs()

    @property
    def zero(self) -> Tensor:
        return _tensor(1.0, 1.0)


@dataclass(frozen=True)
class Rosenbrock:
    """E = (1 − x)² + 100 (y − x²)² (Rosenbrock, 1960)."""

    def __call__(self, theta: Tensor) -> Tensor:
        x, y = theta.unbind(-1)
        return (1 - x).square() + 100 * (y - x.square()).square()

    @property
    def zero(self) -> Tensor:
        return _tensor(1.0, 1.0)


@dataclass(frozen=True)
class Rastrigin:
    """E = Σ [10 + θᵢ² − 10 cos 2πθᵢ] in d dimensions (Rastrigin, 1974): many minima, the lowest at 0."""

    d: int

    def __call__(self, theta: Tensor) -> Tensor:
        return (10 + theta.square() - 10 * torch.cos(2 * math.pi * theta)).sum(-1)

    @property
    def zero(self) -> Tensor:
        return torch.zeros(self.d, dtype=torch.float64)
