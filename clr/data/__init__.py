"""Datasets: converted once by `prepare`, read in batches by `open_loader`, augmented on the device by `Transform`."""

from clr.data.info import DatasetInfo
from clr.data.loaders import Batch, open_loader, resolve_loader
from clr.data.preparation import find_prepared, prepare, prepare_once
from clr.data.transform import Transform

__all__ = [
    "Batch",
    "DatasetInfo",
    "Transform",
    "find_prepared",
    "open_loader",
    "prepare",
    "prepare_once",
    "resolve_loader",
]
