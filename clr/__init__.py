"""Corridor Learning Rate: the optimizer, and the harness that reproduces the paper's experiments."""

from clr.optim import CLR

__all__ = ["CLR"]
