"""The Corridor Learning Rate: the optimizer, and a harness for the experiments of the paper.

`CLR` and `clr.geometry` need torch, NumPy and SciPy alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clr.optim import CLR

__version__ = "1.0.0"

__all__ = ["CLR", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `CLR` on first use: verdicts and report do not need torch, which loads slowly."""
    if name == "CLR":
        from clr.optim import CLR

        return CLR
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
