"""Points in corridors and outside of them, drawn by hypothesis, and a step of CLR."""

from dataclasses import dataclass

import torch
from hypothesis import assume, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clr import CLR
from clr.geometry import (
    Bowl,
    Ellipse,
    Parabola,
    Plane,
    Power,
    Product,
    Rastrigin,
    Ring,
    Rosenbrock,
    Ruled,
    Sine,
    Surface,
    Tube,
)

# The same examples in every run, so that a failure is reproducible.
drawn = settings(max_examples=30, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Inside:
    """A point in a corridor of slope `c`, and the distance along −g to its end, where E = 0."""

    surface: Surface
    theta: Tensor
    c: float
    length: float

    @property
    def time_to_end(self) -> float:
        """Time of the flow, or rate of a step, that reaches the end."""
        return self.length / self.c


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def vectors(d: int) -> st.SearchStrategy[Tensor]:
    return st.lists(st.floats(-3, 3), min_size=d, max_size=d).map(lambda values: tensor(*values))


slopes = st.floats(0.1, 10)
curves = st.one_of(
    st.builds(Sine, st.floats(0.3, 2)),
    st.builds(Ellipse, st.floats(0.5, 3), st.floats(0.5, 3)),
    st.just(Parabola()),
)


@st.composite
def planes(draw):
    d = draw(st.integers(1, 4))
    a, theta, energy = draw(vectors(d)), draw(vectors(d)), draw(st.floats(0.1, 5))
    c = float(a.norm())
    assume(c > 0.1)
    return Inside(Plane(tuple(a.tolist()), energy - float(a @ theta)), theta, c, energy / c)


@st.composite
def tubes(draw):
    d = draw(st.integers(1, 5))
    along = draw(st.integers(0, d - 1))
    point, theta, c = draw(vectors(d)), draw(vectors(d)), draw(slopes)
    basis = (
        torch.linalg.qr(torch.stack([draw(vectors(d)) for _ in range(along)], dim=-1)).Q
        if along
        else None
    )
    directions = tuple(tuple(row) for row in basis.T.tolist()) if along else ()
    away = theta - point
    if along:
        away = away - basis @ (basis.T @ away)
    length = float(away.norm())
    assume(length > 0.1)
    return Inside(Tube(c, tuple(point.tolist()), directions), theta, c, length)


@st.composite
def rings(draw):
    d = draw(st.integers(2, 4))
    k = draw(st.integers(1, d))
    theta, radius, c = draw(vectors(d)), draw(st.floats(0.5, 2)), draw(slopes)
    from_axis = float(theta[:k].norm())
    length = float(torch.cat([tensor(from_axis - radius), theta[k:]]).norm())
    assume(from_axis > 0.1 and length > 0.1)
    return Inside(Ring(c, radius, k, d), theta, c, length)


@st.composite
def ruled(draw):
    surface = Ruled(draw(slopes), draw(curves))
    u = draw(st.floats(0.1, 0.8)) * min(surface.curve.reach, 2)
    theta, _ = surface.ruling(tensor(draw(st.floats(-2, 2))), tensor(u))
    return Inside(surface, theta[0], surface.c, u)


corridors = st.one_of(planes(), tubes(), rings(), ruled())


@st.composite
def bowls(draw):
    curvatures = draw(st.lists(st.floats(0.1, 10), min_size=1, max_size=4))
    theta = draw(vectors(len(curvatures)))
    assume(float(theta.norm()) > 0.1)
    return Bowl(tuple(curvatures)), theta


# One point on each kind of surface that is not a corridor, away from its critical points.
COUNTEREXAMPLES = {
    "round bowl": (Bowl((1.0, 1.0)), tensor(1.2, -0.7)),
    "bowl": (Bowl((1.0, 10.0)), tensor(3.0, 1.0)),
    "power": (Power(3.0, 3), tensor(0.5, -0.4, 0.8)),
    "product": (Product(), tensor(0.4, 1.2)),
    "Rosenbrock": (Rosenbrock(), tensor(-0.5, 0.7)),
    "Rastrigin": (Rastrigin(2), tensor(0.12, -0.3)),
}


def clr_step(surface: Surface, theta: Tensor) -> Tensor:
    """θ after one step of CLR."""
    p = nn.Parameter(theta.clone())
    loss = surface(p)
    loss.backward()
    CLR([p]).step(loss=loss)
    return p.detach()
