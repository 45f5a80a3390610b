"""The Corridor Learning Rate: the optimizer, and a harness for the experiments of the paper.

`CLR` and `clr.geometry` need torch, NumPy and SciPy alone.
"""

from clr.optim import CLR

__version__ = "0.2.0"

__all__ = ["CLR", "__version__"]
