"""Loss surfaces compared with their formulas and with known numbers."""

import math

import pytest
import torch
from geometry_cases import clr_step, curves, drawn, slopes, tensor
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import batch_norm, cross_entropy

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
    Strips,
    Tube,
    derivatives,
    fall,
    gradient,
    gradient_flow,
    hvp,
    step_measures,
)

EXACT = 1e-12  # a few roundings of numbers near 1
STRIPS = Strips(1.0, (1.2, 2.0, 3.5))
START = tensor(2.8, 3.0)

ALL = [
    Plane((1.0, -2.0), 3.0),
    Tube(2.0, (1.0, 2.0)),
    Tube(2.0, (1.0, 2.0, 0.5), ((0.6, 0.8, 0.0),)),
    Ring(0.5, 1.5, 2, 2),
    Ring(0.5, 1.5, 2, 3),
    Ruled(1.5, Sine(0.8)),
    Ruled(1.5, Ellipse(2.0, 1.0)),
    Ruled(1.5, Parabola()),
    STRIPS,
    Bowl((1.0, 10.0)),
    Power(3.0, 2),
    Product(),
    Rosenbrock(),
    Rastrigin(2),
]


@pytest.mark.parametrize("surface", ALL, ids=str)
def test_surfaces_take_points_of_any_shape_and_are_0_at_their_zero(surface):
    zero = surface.zero
    assert zero.dtype == torch.float64
    assert abs(float(surface(zero))) < EXACT
    points = torch.randn(
        4, 3, len(zero), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    energies = surface(points)
    assert energies.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            assert float(energies[i, j]) == pytest.approx(float(surface(points[i, j])), rel=EXACT)
    assert surface(points.float()).dtype == torch.float32
    assert bool((energies >= 0).all()) or isinstance(surface, Plane | Strips)


def test_formulas():
    x, y, z = 0.3, -1.1, 0.7
    theta = tensor(x, y, z)
    expected = {
        Plane((1.0, -2.0, 0.5), 3.0): x - 2 * y + 0.5 * z + 3,
        Tube(2.0, (1.0, 0.0, -1.0)): 2 * math.hypot(x - 1, y, z + 1),
        Tube(2.0, (1.0, 0.0, -1.0), ((0.0, 0.0, 1.0),)): 2 * math.hypot(x - 1, y),
        Ring(3.0, 0.5, 3, 3): 3 * abs(math.hypot(x, y, z) - 0.5),
        Ring(3.0, 0.5, 2, 3): 3 * math.sqrt((math.hypot(x, y) - 0.5) ** 2 + z**2),
        Bowl((1.0, 2.0, 3.0)): 0.5 * (x**2 + 2 * y**2 + 3 * z**2),
        Power(3.0, 3): math.hypot(x, y, z) ** 3,
        Rastrigin(3): sum(10 + t**2 - 10 * math.cos(2 * math.pi * t) for t in (x, y, z)),
    }
    for surface, energy in expected.items():
        assert float(surface(theta)) == pytest.approx(energy, rel=EXACT), surface
    assert float(Product()(theta[:2])) == pytest.approx(abs(x * y - 1), rel=EXACT)
    assert float(Rosenbrock()(theta[:2])) == pytest.approx(
        (1 - x) ** 2 + 100 * (y - x**2) ** 2, rel=EXACT
    )


# Ruled surfaces, Figure 1a


@pytest.mark.parametrize(
    ("curve", "point", "normal"),
    [
        (Sine(0.8), lambda s: (s, 0.8 * math.sin(s)), lambda s: (0.8 * math.cos(s), -1)),
        (
            Ellipse(2.0, 1.5),
            lambda s: (2 * math.cos(s), 1.5 * math.sin(s)),
            lambda s: (1.5 * math.cos(s), 2 * math.sin(s)),
        ),
        (Parabola(), lambda s: (s, s**2 / 2), lambda s: (s, -1)),
    ],
)
def test_the_distance_rises_linearly_along_the_normals_of_a_curve(curve, point, normal):
    for s in (-1.5, 0.2, 1.1):
        p, n = tensor(*point(s)), tensor(*normal(s))
        n = n / n.norm()
        for u in (0.05, 0.5, 1.2):
            energy, g, _ = derivatives(Ruled(3.0, curve), p + u * n)
            assert float(energy) == pytest.approx(3 * u, rel=1e-10)
            assert torch.allclose(g, 3 * n, rtol=0, atol=1e-9)
        theta, energy = Ruled(3.0, curve).ruling(tensor(s), tensor(0.5))
        assert torch.allclose(theta[0], p + 0.5 * n, rtol=0, atol=EXACT)
        assert float(energy) == pytest.approx(1.5)


def test_across_the_rulings_the_surface_has_the_curvature_of_its_level_curves():
    # The curvature radius of the level curve at distance u below the parabola is 1/k + u.
    for s, u in ((0.0, 0.5), (1.2, 0.3), (-0.7, 2.0)):
        surface = Ruled(3.0, Parabola())
        theta = surface.ruling(tensor(s), tensor(u))[0][0].requires_grad_()
        radius = (1 + s**2) ** 1.5 + u
        tangent = tensor(1, s) / math.hypot(1, s)
        (product,) = hvp(surface(theta), [theta], [tangent])
        assert torch.allclose(product, 3 / radius * tangent, rtol=0, atol=1e-10)


@drawn
@given(slopes, curves, st.floats(-2, 2), st.floats(0.1, 0.8))
def test_a_ruling_is_a_line_of_steepest_descent(c, curve, s, part):
    u = part * min(curve.reach, 2)
    surface = Ruled(c, curve)
    theta, energy = surface.ruling(tensor(s), tensor(u))
    flowed = gradient_flow(surface, theta[0], [0.5 * u / c])[0]
    assert float(energy) == pytest.approx(float(surface(theta[0])), rel=1e-9)
    assert torch.allclose(
        flowed, surface.ruling(tensor(s), tensor(0.5 * u))[0][0], rtol=0, atol=1e-8
    )


@drawn
@given(st.floats(0.3, 2), st.floats(-2, 2), st.floats(0.1, 0.8))
def test_the_two_sides_of_the_sine_are_equal(a, s, part):
    surface = Ruled(1.0, Sine(a))
    theta, energy = surface.ruling(tensor(s), tensor(-part / a))
    value, _, hg = derivatives(surface, theta[0])
    assert float(value) == pytest.approx(float(energy), rel=1e-9)
    assert float(hg.norm()) < 1e-8


def test_beyond_its_reach_another_point_of_the_curve_is_nearer():
    surface = Ruled(1.0, Sine(1.0))
    crest = tensor(math.pi / 2)  # the center of curvature is 1 below it
    for u, nearer in ((0.95, False), (1.2, True)):
        theta, energy = surface.ruling(crest, tensor(u))
        assert (float(surface(theta[0])) < float(energy) - 1e-3) == nearer


# Several corridors, Figure 1b


def test_the_line_of_steepest_descent_bends_at_creases():
    corners = STRIPS.steepest_descent(START)
    assert torch.allclose(
        corners[:3], torch.stack([START, tensor(2, 2.7615), tensor(1, 2.1841)]), rtol=0, atol=5e-5
    )
    assert STRIPS(corners[:3]).tolist() == pytest.approx([8.0787, 5.1569, 2.8475], abs=5e-5)
    assert len(corners) == 4
    assert abs(float(STRIPS(corners[3]))) < EXACT
    # Its last piece crosses x = 0 at (0, 0.6766), where E = 0.6766.
    part = corners[2, 0] / (corners[2, 0] - corners[3, 0])
    passing = corners[2] + part * (corners[3] - corners[2])
    assert torch.allclose(passing, tensor(0, 0.6766), rtol=0, atol=5e-5)
    assert float(STRIPS(passing)) == pytest.approx(0.6766, abs=5e-5)


@drawn
@given(st.lists(st.floats(1.1, 4), min_size=1, max_size=4), st.floats(-0.5, 4.5), st.floats(0.1, 3))
def test_the_line_is_the_flow_and_obeys_snells_law(c, x, above):
    surface = Strips(1.0, tuple(c))
    start = tensor(x, 0.0)
    start[1] = above - float(surface(start))  # so that E(start) = above
    corners = surface.steepest_descent(start)
    assert float(surface(corners[0])) == pytest.approx(above, rel=1e-9)
    assert abs(float(surface(corners[-1]))) < 1e-9
    pieces = corners.diff(dim=0)
    lengths = pieces.norm(dim=1)
    # Slope times sine of the angle with the normal of the creases, which are parallel to y.
    middles = gradient(surface, (corners[:-1] + corners[1:]) / 2)
    snell = middles.norm(dim=1) * -pieces[:, 1] / lengths
    assert torch.allclose(snell, torch.ones_like(snell), rtol=0, atol=1e-9)
    time = float((lengths / middles.norm(dim=1)).sum())
    # The solver notices creases only by its error estimate.
    flowed = gradient_flow(surface, start, [time])[0]
    assert float((flowed - corners[-1]).norm()) < 1e-6


def test_clr_takes_two_steps_where_slopes_fall_and_overshoots_where_they_rise():
    first = clr_step(STRIPS, START)
    second = clr_step(STRIPS, first)
    assert [float(STRIPS(x)) for x in (START, first)] == pytest.approx([8.0787, 2.7306], abs=5e-5)
    assert abs(float(STRIPS(second))) < EXACT
    rising = Strips(1.0, (3.5, 2.0, 1.2))
    assert float(rising(START)) > 0 > float(rising(clr_step(rising, START))) + 0.1


# Known numbers of surfaces that are not corridors


@drawn
@given(st.floats(1, 4), st.lists(st.floats(0.1, 3), min_size=1, max_size=4))
def test_kappa_of_a_power_of_the_norm(p, theta):
    energy, g, hg = derivatives(Power(p, len(theta)), tensor(*theta))
    assert float(energy * hg.norm() / g.norm() ** 3) == pytest.approx((p - 1) / p, abs=1e-12)


def test_measures_of_the_round_bowl():
    # The table in docs/geometry.md: g = Hg = θ, of norm 5, and the flow is at e^-h θ.
    h, theta = 0.1, tensor(3.0, -4.0)
    result = step_measures(Bowl((1.0, 1.0)), theta, h)
    drift = (math.exp(-h) - (1 - h)) / h
    expected = {
        "hg_norm": 5,
        "turn": h,
        "linearity_defect": h / 2,
        "correction": h / 2 * 5,
        "kappa": 0.5,
        "drift": drift,
    }
    assert result == pytest.approx(expected, rel=1e-8)
    for alpha in (0.5, 1.0, 2.0):
        energy, after = Bowl((1.0, 1.0))(torch.stack([theta, (1 - alpha * h) * theta]))
        assert float(fall(energy, after, tensor(5.0), tensor(alpha * h))) == pytest.approx(
            1 - alpha * h / 2, rel=EXACT
        )


def test_measures_of_an_uneven_bowl_by_hand():
    # E = ½(x² + 10y²) at (3, 1): g = (3, 10), Hg = (3, 100). After h = 0.01, gradient descent is
    # at (2.97, 0.9) and the flow at (3e^-0.01, e^-0.1).
    result = step_measures(Bowl((1.0, 10.0)), tensor(3.0, 1.0), 0.01)
    norm, hg = math.sqrt(109), math.sqrt(10009)
    after = 0.5 * (2.97**2 + 10 * 0.9**2)
    expected = {
        "hg_norm": hg,
        "turn": 0.01 * hg / norm,
        "linearity_defect": (after - 9.5 + 1.09) / 1.09,
        "correction": 0.005 * hg,
        "kappa": 9.5 * hg / norm**3,
        "drift": math.hypot(2.97 - 3 * math.exp(-0.01), 0.9 - math.exp(-0.1)) / (0.01 * norm),
    }
    assert result == pytest.approx(expected, rel=1e-8)
    assert result["kappa"] == pytest.approx(0.835, abs=5e-4)


# Related methods


def test_for_one_sample_and_the_absolute_loss_clr_is_kaczmarzs_projection():
    a, y, theta = tensor(1.0, -2.0, 0.5), 0.7, tensor(0.3, 1.4, -2.0)
    projected = theta - (a @ theta - y) / (a @ a) * a
    stepped = clr_step(lambda p: (a @ p - y).abs(), theta)
    assert torch.allclose(stepped, projected, rtol=0, atol=EXACT)
    assert abs(float(a @ stepped - y)) < EXACT


def test_before_batch_norm_the_rate_of_clr_grows_with_the_squared_weights():
    generator = torch.Generator().manual_seed(0)
    x, w = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((16, 5), (3, 5))
    )
    y = torch.randint(3, (16,), generator=generator)
    rates = []
    for alpha in (1.0, 10.0):
        p = nn.Parameter(alpha * w)
        loss = cross_entropy(batch_norm(x @ p.T, None, None, training=True, eps=1e-15), y)
        loss.backward()
        optimizer = CLR([p])
        optimizer.step(loss=loss)
        rates.append(optimizer.param_groups[0]["lr"].item())
    assert rates[1] == pytest.approx(100 * rates[0], rel=1e-9)
