"""Request for the samples of one epoch, as the loaders take it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Request:
    """Samples to read from an FFCV file, in this order."""

    ids: np.ndarray  # int64 of shape (n,)
    batch_size: int  # samples per batch; the last batch may be smaller
    resolution: int  # batches have images of resolution × resolution pixels
    # int64 of shape (n, 4): (y, x, h, w), the part of each JPEG image that is resized to the
    # resolution. None if images are stored as raw pixels of that resolution.
    boxes: np.ndarray | None = None

    def chunks(self) -> list[np.ndarray]:
        """The ids of each batch."""
        return self._split(self.ids)

    def box_chunks(self) -> list[np.ndarray] | list[None]:
        """The boxes of each batch."""
        return [None] * len(self.chunks()) if self.boxes is None else self._split(self.boxes)

    def _split(self, rows: np.ndarray) -> list[np.ndarray]:
        return np.split(rows, range(self.batch_size, len(self.ids), self.batch_size))
