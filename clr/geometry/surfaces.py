"""Loss surfaces in closed form: corridors, several corridors joined, and counterexamples.

Because Hg = ½∇‖g‖², a connected smooth region is a corridor if and only if ‖g‖ is constant there
(the eikonal equation). Examples are linear functions, and

    E(θ) = c · (distance of θ to a set)  wherever the nearest point of the set is unique.

A surface is a function of points θ, shape (..., d), that returns E, shape (...), in their dtype. It
can be differentiated twice wherever E is smooth. A corridor with c > 0 has no critical point, so
that E is not differentiable where it reaches 0. `zero` is a point, shape (d,), where E = 0. It is a
minimum, except on Plane and Strips, whose formulas continue below 0; they are losses where E ≥ 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from clr.geometry.curves import Curve


class Surface(Protocol):
    """A function of points θ, shape (..., d), that returns E, shape (...)."""

    def __call__(self, theta: Tensor, /) -> Tensor: ...


def _tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Corridors


@dataclass(frozen=True)
class Plane:
    """E = a·θ + b with a ≠ 0: a linear function, ‖g‖ = ‖a‖."""

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
    """E = c · distance to the affine subspace through `point` along orthonormal `directions`.

    Without directions it is a cone. ‖g‖ = c everywhere except on the subspace.
    """

    c: float
    point: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...] = ()

    def __call__(self, theta: Tensor) -> Tensor:
        offset = theta - theta.new_tensor(self.point)
        if self.directions:
            basis = theta.new_tensor(self.directions)
            offset = offset - offset @ basis.mT @ basis
        return self.c * torch.linalg.vector_norm(offset, dim=-1)

    @property
    def zero(self) -> Tensor:
        return _tensor(*self.point)


@dataclass(frozen=True)
class Ring:
    """E = c · distance to the sphere of `radius` R around 0 in the first `k` of d coordinates.

    For k = d this is c·abs(‖θ‖ − R); for k = 2 and d = 3 it is c times the distance to a circle,
    c·√((√(x² + y²) − R)² + z²). ‖g‖ = c everywhere except on the sphere and where the first k
    coordinates are 0.
    """

    c: float
    radius: float
    k: int
    d: int

    def __call__(self, theta: Tensor) -> Tensor:
        radial = torch.linalg.vector_norm(theta[..., : self.k], dim=-1, keepdim=True)
        offset = torch.cat([radial - self.radius, theta[..., self.k :]], dim=-1)
        return self.c * torch.linalg.vector_norm(offset, dim=-1)

    @property
    def zero(self) -> Tensor:
        return _tensor(self.radius, *[0.0] * (self.d - 1))


@dataclass(frozen=True)
class Ruled:
    """E = c · distance to a plane curve γ (Figure 1a).

    Its graph is a developable ruled surface: straight lines of slope c over the normals n of γ,

        (s, u) ↦ (γ(s) + u n(s), c·u),   0 < u < `curve.reach`.

    ‖g‖ = c. Beyond the reach the normals intersect, and another point of γ is the nearest.
    """

    c: float
    curve: Curve

    def __call__(self, theta: Tensor) -> Tensor:
        nearest = self.curve.point(self.curve.nearest(theta))
        return self.c * torch.linalg.vector_norm(theta - nearest, dim=-1)

    def ruling(self, s: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """θ, shape (..., 2), and E, shape (...), for parameters s and u of one shape (...).

        A negative u is on the other side of the curve.
        """
        return self.curve.point(s) + u[..., None] * self.curve.normal(s), self.c * u.abs()

    @property
    def zero(self) -> Tensor:
        return self.curve.point(_tensor(1.0))[0]


# Several corridors


@dataclass(frozen=True)
class Strips:
    """Planes of slopes c₁, c₂, … over strips of width 1, joined along creases (Figure 1b).

    The creases are x = 1, 2, …, and

        E = p·y + q₁ min(x, 1) + q₂ clip(x − 1, 0, 1) + … + qₙ max(x − n + 1, 0),
        qᵢ = √(cᵢ² − p²).

    Each strip is a corridor. All strips have the slope p along the creases, so that a line of
    steepest descent is refracted at a crease as light is: c₁ sin α₁ = c₂ sin α₂, where α are its
    angles with the normal of the crease.
    """

    p: float
    c: tuple[float, ...]

    def __call__(self, theta: Tensor) -> Tensor:
        x, y = theta.unbind(-1)
        last = len(self.c) - 1
        energy = self.p * y
        for i, q in enumerate(self.cross_slopes):
            energy = energy + q * (x.clamp(i if i else None, i + 1 if i < last else math.inf) - i)
        return energy

    @property
    def cross_slopes(self) -> list[float]:
        """Slopes qᵢ perpendicular to the creases."""
        return [math.sqrt(c**2 - self.p**2) for c in self.c]

    @property
    def zero(self) -> Tensor:
        return _tensor(0.0, 0.0)

    def steepest_descent(self, start: Tensor) -> Tensor:
        """Corners, shape (n, 2), of the line of steepest descent from `start`, (2,), to E = 0."""
        corners = [start]
        while (energy := float(self(corners[-1]))) > 1e-12:
            x = float(corners[-1][0])
            # A point on a crease moves into the strip to its left.
            i = min(max(math.ceil(x) - 1, 0), len(self.c) - 1)
            q = self.cross_slopes[i]
            time = energy / self.c[i] ** 2
            if i > 0:
                time = min(time, (x - i) / q)
            after = corners[-1] - time * start.new_tensor([q, self.p])
            if i > 0 and time == (x - i) / q:
                after[0] = i  # exactly: rounding would leave a part of this strip to cross
            corners.append(after)
        return torch.stack(corners)


# Surfaces that are not corridors


@dataclass(frozen=True)
class Bowl:
    """E = ½ Σ λᵢ θᵢ².

    For equal λ the flow is straight, but slows down: Hg = λ²θ ≠ 0, so that it is not a corridor.
    """

    curvatures: tuple[float, ...]

    def __call__(self, theta: Tensor) -> Tensor:
        return 0.5 * (theta.new_tensor(self.curvatures) * theta.square()).sum(-1)

    @property
    def zero(self) -> Tensor:
        return torch.zeros(len(self.curvatures), dtype=torch.float64)


@dataclass(frozen=True)
class Power:
    """E = ‖θ‖^p in d dimensions: κ = (p − 1)/p everywhere except at 0."""

    p: float
    d: int

    def __call__(self, theta: Tensor) -> Tensor:
        return torch.linalg.vector_norm(theta, dim=-1) ** self.p

    @property
    def zero(self) -> Tensor:
        return torch.zeros(self.d, dtype=torch.float64)


@dataclass(frozen=True)
class Product:
    """E = abs(w₁w₂ − 1): a linear network of one hidden unit, absolute loss on one sample."""

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
    """E = Σ [10 + θᵢ² − 10 cos 2πθᵢ] in d dimensions (Rastrigin, 1974); lowest minimum at 0."""

    d: int

    def __call__(self, theta: Tensor) -> Tensor:
        return (10 + theta.square() - 10 * torch.cos(2 * math.pi * theta)).sum(-1)

    @property
    def zero(self) -> Tensor:
        return torch.zeros(self.d, dtype=torch.float64)
