"""Relatives of CLR: optimizers that take the step of `CLR` with another rate or direction."""

from clr.methods.alig import ALIG
from clr.methods.dal import DAL
from clr.methods.momo import MoMo
from clr.methods.ngn import NGN
from clr.methods.polyak import PolyakSGD
from clr.methods.sps import SPSMax

__all__ = ["ALIG", "DAL", "NGN", "MoMo", "PolyakSGD", "SPSMax"]
