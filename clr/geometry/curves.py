"""Plane curves with their normals, over which ruled surfaces stand, and a point's nearest point on them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Curve(ABC):
    """A curve γ(s) in the plane, twice differentiable. Parameters s have any shape, points that shape and a last 2."""

    reach: float  # how far along the normals points have one nearest point on the curve

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
        """Parameters among which some are near that of θ's nearest point: θ (..., 2) → (..., candidates)."""

    def normal(self, s: Tensor) -> Tensor:
        """The unit normal to the right of the way of growing s."""
        x, y = self.velocity(s).unbind(-1)
        return torch.stack([y, -x], dim=-1) / torch.hypot(x, y)[..., None]

    def nearest(self, theta: Tensor) -> Tensor:
        """The parameter of the curve's point nearest to θ, (..., 2) → (...), by Newton's method.

        The last of its steps is differentiable, so that E's first and second derivatives by autograd are exact:
        what is missing of s'' is multiplied by the derivative of the distance by s, which is 0.
        """
        with torch.no_grad():
            s = self.candidates(theta)
            squares = (self.point(s) - theta[..., None, :]).square().sum(-1)
            s = s.gather(-1, squares.argmin(-1, keepdim=True))[..., 0]
            for _ in range(8):
                s = self._newton(s, theta)
        return self._newton(s, theta)

    def _newton(self, s: Tensor, theta: Tensor) -> Tensor:
        """A step towards (γ(s) − θ)·γ'(s) = 0."""
        away, velocity = self.point(s) - theta, self.velocity(s)
        slope = velocity.square().sum(-1) + (away * self.acceleration(s)).sum(-1)
        return s - (away * velocity).sum(-1) / slope


@dataclass(frozen=True)
class Sine(Curve):
    """γ = (s, a sin s), whose normals meet no nearer than 1/a. Its two sides are alike, half a period apart."""

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
    """γ = (a cos s, b sin s), with its outside to the right."""

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
    """γ = (s, s²/2), with what is below it to the right."""

    reach = math.inf

    def point(self, s: Tensor) -> Tensor:
        return torch.stack([s, s.square() / 2], dim=-1)

    def velocity(self, s: Tensor) -> Tensor:
        return torch.stack([torch.ones_like(s), s], dim=-1)

    def acceleration(self, s: Tensor) -> Tensor:
        return torch.stack([torch.zeros_like(s), torch.ones_like(s)], dim=-1)

    def candidates(self, theta: Tensor) -> Tensor:
        return theta[..., :1] * torch.linspace(0, 1, 129).to(
            theta
        )  # below the parabola it lies between 0 and x
