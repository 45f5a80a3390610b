"""Plane curves with their normals, and the nearest point of a curve to a given point."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Curve(ABC):
    """A twice differentiable curve γ(s) in the plane.

    Parameters s have any shape (...), points the shape (..., 2).
    """

    reach: float  # distance along the normals up to which the nearest point is unique

    @abstractmethod
    def point(self, s: Tensor) -> Tensor:
        """γ(s)."""

    @abstractmethod
    def velocity(self, s: Tensor) -> Tensor:
        """γ'(s)."""

    @abstractmethod
    def acceleration(self, s: Tensor) -> Tensor:
        """γ''(s)."""

    @abstractmethod
    def candidates(self, theta: Tensor) -> Tensor:
        """Starting parameters for the search of the point nearest to θ.

        θ has shape (..., 2), the result (..., candidates). Some are near the parameter sought.
        """

    def normal(self, s: Tensor) -> Tensor:
        """Unit normal, to the right of the direction of increasing s."""
        x, y = self.velocity(s).unbind(-1)
        return torch.stack([y, -x], dim=-1) / torch.hypot(x, y)[..., None]

    def nearest(self, theta: Tensor) -> Tensor:
        """Parameter, shape (...), of the point of the curve nearest to θ, shape (..., 2).

        Newton's method, whose last step is differentiable. This makes the first and second
        derivatives of E by autograd exact: the missing part of the second derivative of s is
        multiplied by the derivative of the distance with respect to s, which is 0.
        """
        with torch.no_grad():
            s = self.candidates(theta)
            squares = (self.point(s) - theta[..., None, :]).square().sum(-1)
            s = s.gather(-1, squares.argmin(-1, keepdim=True))[..., 0]
            for _ in range(8):
                s = self._newton(s, theta)
        return self._newton(s, theta)

    def _newton(self, s: Tensor, theta: Tensor) -> Tensor:
        """One step of Newton's method for (γ(s) − θ)·γ'(s) = 0."""
        offset, velocity = self.point(s) - theta, self.velocity(s)
        slope = velocity.square().sum(-1) + (offset * self.acceleration(s)).sum(-1)
        return s - (offset * velocity).sum(-1) / slope


@dataclass(frozen=True)
class Sine(Curve):
    """γ = (s, a sin s). Its normals intersect at distances of 1/a or more.

    One side is the mirror image of the other, shifted by half a period.
    """

    a: float

    @property
    def reach(self) -> float:  # type: ignore[override]
        return 1 / self.a

    def point(self, s: Tensor) -> Tensor:
        return torch.stack([s, self.a * torch.sin(s)], dim=-1)

    def velocity(self, s: Tensor) -> Tensor:
        return torch.stack([torch.ones_like(s), self.a * torch.cos(s)], dim=-1)

    def acceleration(self, s: Tensor) -> Tensor:
        return torch.stack([torch.zeros_like(s), -self.a * torch.sin(s)], dim=-1)

    def candidates(self, theta: Tensor) -> Tensor:
        return theta[..., :1] + self.reach * torch.linspace(-1, 1, 129).to(theta)


@dataclass(frozen=True)
class Ellipse(Curve):
    """γ = (a cos s, b sin s); the normals point outwards."""

    a: float
    b: float
    reach = math.inf

    def point(self, s: Tensor) -> Tensor:
        return torch.stack([self.a * torch.cos(s), self.b * torch.sin(s)], dim=-1)

    def velocity(self, s: Tensor) -> Tensor:
        return torch.stack([-self.a * torch.sin(s), self.b * torch.cos(s)], dim=-1)

    def acceleration(self, s: Tensor) -> Tensor:
        return -self.point(s)

    def candidates(self, theta: Tensor) -> Tensor:
        return torch.linspace(0, 2 * math.pi, 129).to(theta).expand(*theta.shape[:-1], -1)


@dataclass(frozen=True)
class Parabola(Curve):
    """γ = (s, s²/2); the normals point downwards."""

    reach = math.inf

    def point(self, s: Tensor) -> Tensor:
        return torch.stack([s, s.square() / 2], dim=-1)

    def velocity(self, s: Tensor) -> Tensor:
        return torch.stack([torch.ones_like(s), s], dim=-1)

    def acceleration(self, s: Tensor) -> Tensor:
        return torch.stack([torch.zeros_like(s), torch.ones_like(s)], dim=-1)

    def candidates(self, theta: Tensor) -> Tensor:
        # For θ = (x, y) below the parabola the parameter is between 0 and x.
        return theta[..., :1] * torch.linspace(0, 1, 129).to(theta)
