"""CLR across a valley whose floor has a loss f > 0 that its steps cannot remove, by hand."""

import math
from itertools import pairwise

import pytest
import torch
from geometry_cases import clr_step

LAMBDA = 50.0  # curvature across the valley
FLOOR = 0.8


def bowl(theta):
    """A valley with a round cross-section: f + λx²/2."""
    return FLOOR + LAMBDA / 2 * theta.square().sum()


def roof(theta):
    """A valley of two corridors: f + 3 abs(x)."""
    return FLOOR + 3 * theta.abs().sum()


def steps(surface, x, count):
    """Positions x after 0, 1, …, `count` steps of CLR."""
    theta = torch.tensor([x], dtype=torch.float64)
    positions = [x]
    for _ in range(count):
        theta = clr_step(surface, theta)
        positions.append(float(theta))
    return positions


def test_in_a_round_valley_the_angle_of_the_position_is_doubled():
    scale, angle = math.sqrt(2 * FLOOR / LAMBDA), 0.7
    angles = [angle * 2**step for step in range(8)]
    expected = [scale / math.tan(value) for value in angles]
    assert steps(bowl, expected[0], 7) == pytest.approx(expected, rel=1e-9)


def test_clr_jumps_to_the_opposite_wall_of_a_round_valley_with_twice_the_stable_rate():
    x = math.sqrt(2 * FLOOR / (3 * LAMBDA))
    assert steps(bowl, x, 1)[1] == pytest.approx(-x, rel=1e-12)
    loss, slope = float(bowl(torch.tensor([x], dtype=torch.float64))), LAMBDA * x
    assert loss == pytest.approx(4 / 3 * FLOOR)
    assert loss / slope**2 == pytest.approx(2 / LAMBDA)


def test_a_deviation_from_this_jump_doubles_and_changes_its_side_at_each_step():
    x = math.sqrt(2 * FLOOR / (3 * LAMBDA))
    sizes = [abs(position) / x - 1 for position in steps(bowl, x * (1 + 1e-7), 6)]
    ratios = [after / before for before, after in pairwise(sizes)]
    assert ratios == pytest.approx([-2] * 6, rel=1e-4)


def test_between_two_corridors_the_jump_is_reached_in_one_step_and_stays():
    jump = FLOOR / 3
    assert steps(roof, 2.0, 4)[1:] == pytest.approx([-jump, jump, -jump, jump], rel=1e-12)
