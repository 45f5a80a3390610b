"""The statements of docs/geometry.md, in float64: in corridors, and that they fail outside of them.

Tolerances. Without the flow, a number that is exactly 0 is a sum of a few rounding errors: 1e-16
of its terms, times up to 100 where the normals of a curve nearly intersect. κ and other numbers
without unit must be accurate to 1e-10. The flow is accurate to 1e-9 of its length. Where a term of
higher order is neglected, the test halves the step and checks the order.
"""

import pytest
import torch
from geometry_cases import COUNTEREXAMPLES, bowls, clr_step, corridors, drawn, tensor, tubes
from hypothesis import given
from hypothesis import strategies as st

from clr.geometry import (
    Bowl,
    Ellipse,
    Parabola,
    Ring,
    Ruled,
    Sine,
    Tube,
    derivatives,
    fall,
    gradient,
    gradient_flow,
    modified_loss,
    step_measures,
)

EXACT, FLOW = 1e-10, 1e-9
parts = st.floats(0.05, 0.95)


def outside_corridors():
    return pytest.mark.parametrize(
        ("surface", "theta"), COUNTEREXAMPLES.values(), ids=COUNTEREXAMPLES.keys()
    )


def kappa(surface, theta):
    energy, g, hg = derivatives(surface, theta)
    return float(energy * hg.norm() / g.norm() ** 3)


def time_scale(surface, theta):
    """‖g‖/‖Hg‖, the time in which the flow's velocity becomes another."""
    _, g, hg = derivatives(surface, theta)
    return float(g.norm() / hg.norm())


# Definition of a corridor (2.1)


@drawn
@given(corridors)
def test_in_a_corridor_hg_is_zero_and_the_gradient_norm_is_constant(case):
    _, g, _ = derivatives(case.surface, case.theta)
    assert kappa(case.surface, case.theta) < EXACT
    assert float(g.norm()) == pytest.approx(case.c, rel=EXACT)


@drawn
@given(corridors)
def test_in_a_corridor_the_flow_is_straight_and_of_constant_speed(case):
    times = [0.3 * case.time_to_end, 0.6 * case.time_to_end, 0.9 * case.time_to_end]
    g = gradient(case.surface, case.theta)
    for time, flowed in zip(times, gradient_flow(case.surface, case.theta, times), strict=True):
        assert float((flowed - (case.theta - time * g)).norm()) < FLOW * case.length


@drawn
@given(bowls())
def test_kappa_of_a_bowl_is_at_least_one_half(case):
    # ‖Λθ‖³ ≤ (Σλθ²) ‖Λ²θ‖ by the Cauchy-Schwarz inequality.
    assert kappa(*case) >= 0.5 - EXACT


@outside_corridors()
def test_outside_corridors_hg_is_not_zero(surface, theta):
    assert kappa(surface, theta) > 0.1


def test_a_straight_flow_is_not_sufficient():
    # On ½‖θ‖² the flow goes straight to 0, but slows down: the negative control.
    surface, theta = COUNTEREXAMPLES["round bowl"]
    first, second = gradient_flow(surface, theta, [0.5, 1.0])
    for flowed in (first, second):
        assert abs(float(theta[0] * flowed[1] - theta[1] * flowed[0])) < FLOW
    assert float((theta - first).norm()) > 1.5 * float((first - second).norm())
    assert kappa(surface, theta) == pytest.approx(0.5, rel=EXACT)


def test_the_flow_down_an_uneven_bowl_is_not_straight():
    surface, theta = COUNTEREXAMPLES["bowl"]
    first, second = (theta - flowed for flowed in gradient_flow(surface, theta, [0.1, 0.2]))
    sine = (first[0] * second[1] - first[1] * second[0]) / (first.norm() * second.norm())
    assert abs(float(sine)) > 0.1


@outside_corridors()
def test_hg_is_the_acceleration_of_the_flow(surface, theta):
    # θ̈ = d/dt(−g) = Hg, so Hg = 0 if and only if the flow is straight and of constant speed.
    step = 0.01 * time_scale(surface, theta)
    before, middle, after = gradient_flow(surface, theta, [0.0, step, 2 * step])
    _, _, hg = derivatives(surface, middle)
    acceleration = (after - 2 * middle + before) / step**2
    error = float((acceleration - hg).norm())  # the difference quotient neglects (step²/12) θ⁗
    assert error < 1e-3 * float(hg.norm())


# Lemma 2.8 and the eikonal equation


@outside_corridors()
def test_lemma_2_8_the_gradient_changes_by_minus_hg_along_the_flow(surface, theta):
    step = 0.01 * time_scale(surface, theta)
    before, middle, after = gradient_flow(surface, theta, [0.0, step, 2 * step])
    _, _, hg = derivatives(surface, middle)
    change = (gradient(surface, after) - gradient(surface, before)) / (2 * step)
    error = float((change + hg).norm())  # the difference quotient neglects (step²/6) g‴
    assert error < 1e-3 * float(hg.norm())


@outside_corridors()
def test_hg_is_half_the_gradient_of_the_squared_norm(surface, theta):
    half = gradient(lambda x: 0.5 * gradient(surface, x, create_graph=True).square().sum(-1), theta)
    _, _, hg = derivatives(surface, theta)
    assert torch.allclose(half, hg, rtol=EXACT, atol=0)


# Gradient descent and gradient flow


@drawn
@given(corridors, parts)
def test_in_a_corridor_gradient_descent_and_gradient_flow_coincide(case, part):
    step = step_measures(case.surface, case.theta, part * case.time_to_end)
    assert step["drift"] < FLOW
    assert step["turn"] < EXACT


@outside_corridors()
def test_outside_corridors_they_differ_by_half_h_squared_hg(surface, theta):
    _, g, hg = derivatives(surface, theta)
    rest = []
    for step in (0.02 * time_scale(surface, theta), 0.01 * time_scale(surface, theta)):
        gap = gradient_flow(surface, theta, [step])[0] - (theta - step * g)
        assert float(gap.norm()) == pytest.approx(step**2 / 2 * float(hg.norm()), rel=0.1)
        rest.append(float((gap - step**2 / 2 * hg).norm()))
    assert 7 < rest[0] / rest[1] < 9  # O(h³)


@outside_corridors()
def test_gradient_descent_follows_the_modified_flow_one_order_closer(surface, theta):
    g = gradient(surface, theta)
    gaps = []
    for step in (0.02 * time_scale(surface, theta), 0.01 * time_scale(surface, theta)):
        flowed = gradient_flow(modified_loss(surface, step), theta, [step])[0]
        gaps.append(float((flowed - (theta - step * g)).norm()))
        assert gaps[-1] < 0.1 * step_measures(surface, theta, step)["drift"] * step * float(
            g.norm()
        )
    assert 7 < gaps[0] / gaps[1] < 9  # O(h³), where the flow of E leaves O(h²)


@drawn
@given(corridors, parts)
def test_in_a_corridor_the_modified_flow_is_the_flow(case, part):
    rate = part * case.time_to_end
    modified = gradient(modified_loss(case.surface, rate), case.theta)
    g = gradient(case.surface, case.theta)
    assert float((modified - g).norm()) < EXACT * case.c
    assert step_measures(case.surface, case.theta, rate)["correction"] < EXACT * case.c


# The loss


@drawn
@given(corridors, parts)
def test_in_a_corridor_the_loss_falls_linearly(case, part):
    rate = part * case.time_to_end
    energy, g, _ = derivatives(case.surface, case.theta)
    # Relative to E before the step: near the end E is small and has few correct digits.
    after = case.surface(case.theta - rate * g)
    assert float(after) == pytest.approx(
        float(energy) - rate * case.c**2, abs=EXACT * float(energy)
    )
    assert (
        step_measures(case.surface, case.theta, rate)["linearity_defect"] < 20 * EXACT
    )  # h‖g‖² may be E/20
    for alpha in (0.25, 0.5, 1.0):
        after = case.surface(case.theta - alpha * rate * g)
        assert float(fall(energy, after, g.norm(), alpha * tensor(rate))) == pytest.approx(
            1, abs=100 * EXACT
        )


@drawn
@given(bowls(), parts)
def test_on_a_bowl_the_loss_falls_by_less_than_linearly(case, part):
    surface, theta = case
    rate = part / max(surface.curvatures)
    _, g, hg = derivatives(surface, theta)
    # E is quadratic: E(θ − hg) = E − h‖g‖² + ½h² g·Hg exactly.
    defect = rate / 2 * float(g @ hg) / float(g @ g)
    assert step_measures(surface, theta, rate)["linearity_defect"] == pytest.approx(
        defect, rel=1e-8
    )
    assert defect > 0


@outside_corridors()
def test_outside_corridors_the_loss_is_not_linear(surface, theta):
    assert (
        step_measures(surface, theta, 0.1 * time_scale(surface, theta))["linearity_defect"] > 0.01
    )


@drawn
@given(corridors)
def test_in_a_corridor_one_step_of_clr_reaches_zero(case):
    assert abs(float(case.surface(clr_step(case.surface, case.theta)))) < EXACT * float(
        case.surface(case.theta)
    )


def test_on_the_round_bowl_one_step_of_clr_leaves_a_quarter():
    surface, theta = COUNTEREXAMPLES["round bowl"]
    assert float(surface(clr_step(surface, theta))) == pytest.approx(
        float(surface(theta)) / 4, rel=EXACT
    )


# The segment of a step


@drawn
@given(tubes(), st.floats(1.1, 1.8))
def test_a_step_beyond_the_end_of_the_corridor_is_not_linear(case, part):
    g = gradient(case.surface, case.theta)
    after = float(case.surface(case.theta - part * case.time_to_end * g))
    # The step ends on the opposite side.
    assert after == pytest.approx((part - 1) * case.c * case.length, rel=1e-8)


@pytest.mark.parametrize(
    ("surface", "theta"),
    [
        (Tube(2.0, (0.0, 0.0)), tensor(0.6, 0.8)),
        (Ring(2.0, 1.0, 2, 2), tensor(0.0, 0.4)),
        (Ruled(2.0, Ellipse(2.0, 1.0)), tensor(2.5, 1.5)),
        (Ruled(2.0, Parabola()), tensor(1.5, -0.5)),
        (Ruled(2.0, Sine(1.0)), tensor(0.5, 0.0)),
    ],
)
def test_a_corridor_has_no_critical_point_up_to_its_end(surface, theta):
    energy, g, _ = derivatives(surface, theta)
    for remaining in (1e-2, 1e-4, 1e-6):
        near = theta - (1 - remaining) * energy / 4 * g
        assert float(gradient(surface, near).norm()) == pytest.approx(2.0, rel=1e-6)


def test_the_flow_of_a_bowl_is_known():
    # The accuracy that clr.geometry.flow states, on θ(t) = e^(−λt) θ.
    theta = tensor(3.0, 1.0)
    times = [0.1, 1.0, 3.0]
    exact = torch.stack([torch.exp(-t * tensor(1.0, 10.0)) * theta for t in times])
    assert float((gradient_flow(Bowl((1.0, 10.0)), theta, times) - exact).abs().max()) < 1e-10


def test_a_flow_that_ends_early_is_an_error(monkeypatch):
    monkeypatch.setattr("clr.geometry.flow.MAX_GRADIENTS", 5000)
    with pytest.raises(
        RuntimeError, match=r"cannot be followed to t = 0.6: it seems to end at t = 0.5"
    ):
        gradient_flow(Tube(2.0, (0.0, 0.0)), tensor(0.6, 0.8), [0.6])


def test_a_flow_that_becomes_infinite_is_an_error():
    with pytest.raises(RuntimeError, match=r"cannot be followed to t = 1: .*step size"):
        gradient_flow(lambda theta: -(theta**4).sum(-1), tensor(1.0), [1.0])  # infinite at t = 1/8
