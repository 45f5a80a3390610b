"""Optimizers that CLR is compared with: its relatives, which take its step, and others."""

from clr.methods.alig import ALIG
from clr.methods.dal import DAL
from clr.methods.momo import MoMo
from clr.methods.ngn import NGN
from clr.methods.polyak import PolyakSGD
from clr.methods.sps import SPSMax

__all__ = ["ALIG", "DAL", "NGN", "MoMo", "PolyakSGD", "SPSMax"]
