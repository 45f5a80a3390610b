"""Datasets: converted once by `prepare`, read in batches by `open_loader`, augmented on the device by `Transform`."""

from clr.data.convert import prepare
from clr.data.info import DatasetInfo
from clr.data.loaders import Batch, open_loader, resolve_loader
from clr.data.transform import Transform

__all__ = ["Batch", "DatasetInfo", "Transform", "open_loader", "prepare", "resolve_loader"]
