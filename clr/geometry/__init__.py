"""Geometry of loss surfaces: corridors, the gradient flow, and measures of both.

Symbols: E(θ) ≥ 0 is the loss, g = ∇E its gradient, H = ∇²E its Hessian, h the learning rate.
Gradient descent is θ ← θ − h g, the gradient flow θ̇ = −g. A corridor is a region where H g = 0:
there the flow moves in straight lines at constant speed.

Source: section 2 of Dherin & Rosca, "Corridor Geometry in Gradient-Based Optimization"
(arXiv 2402.08818).
"""

from clr.geometry.curves import Ellipse, Parabola, Sine
from clr.geometry.derivatives import derivatives, gradient, hvp
from clr.geometry.flow import gradient_flow, modified_loss
from clr.geometry.measures import fall, measures, step_measures
from clr.geometry.surfaces import (
    Bowl,
    Plane,
    Power,
    Product,
    Rastrigin,
    Ring,
    Rosenbrock,
    Ruled,
    Strips,
    Surface,
    Tube,
)

__all__ = [
    "Bowl",
    "Ellipse",
    "Parabola",
    "Plane",
    "Power",
    "Product",
    "Rastrigin",
    "Ring",
    "Rosenbrock",
    "Ruled",
    "Sine",
    "Strips",
    "Surface",
    "Tube",
    "derivatives",
    "fall",
    "gradient",
    "gradient_flow",
    "hvp",
    "measures",
    "modified_loss",
    "step_measures",
]
