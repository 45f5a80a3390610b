"""The paper's geometry: corridors, the gradient flow, and how far a point is from lying in a corridor.

Symbols: E(θ) ≥ 0 the loss, g = ∇E, H = ∇²E, h the learning rate; gradient descent θ ← θ − h g, gradient flow θ̇ = −g.
A corridor is a region where H g = 0: there the flow's lines are straight and run at constant speed.

Source: Dherin & Rosca, "Corridor Geometry in Gradient-Based Optimization" (arXiv 2402.08818), section 2.
"""

from clr.geometry.curves import Ellipse, Parabola, Sine
from clr.geometry.derivatives import derivatives, gradient, hvp
from clr.geometry.flow import gradient_flow, modified_loss
from clr.geometry.measures import at, fall, measures
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
    "at",
    "derivatives",
    "fall",
    "gradient",
    "gradient_flow",
    "hvp",
    "measures",
    "modified_loss",
]
