"""Datasets: converted once, read in batches on the host, augmented on the device.

`prepare` converts a dataset, `open_loader` reads its batches, `Transform` augments them.
"""

from clr.data.info import DatasetInfo
from clr.data.loaders import Batch, BatchLoader, open_loader
from clr.data.preparation import count_classes, find_prepared, prepare, prepare_once
from clr.data.transform import Transform

__all__ = [
    "Batch",
    "BatchLoader",
    "DatasetInfo",
    "Transform",
    "count_classes",
    "find_prepared",
    "open_loader",
    "prepare",
    "prepare_once",
]
