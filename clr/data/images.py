"""The originals of one split, decoded to RGB and brought to the size in which they are stored."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from clr.config import DatasetConfig
from clr.errors import UserError


class Unreadable(Exception):
    """An original that is no image, or a damaged one; the message says why."""


@dataclass(frozen=True)
class Images:
    """The images of one split, decoded on demand."""

    items: np.ndarray | list[str]  # uint8 (n, h, w, 3), or paths of files
    labels: np.ndarray  # int64 (n,)
    dataset: DatasetConfig

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> np.ndarray:
        """Image i as uint8 (H, W, 3); errors as `read` raises them."""
        return np.array(self.read(i)[0])

    def read(self, i: int) -> tuple[Image.Image, str]:
        """Image i in RGB and in the size to store, and Pillow's name of the mode that it had.

        Grey images get three equal channels, alpha is dropped, EXIF rotation is not applied (torchvision's
        ImageFolder does the same). Unreadable for what Pillow cannot decode, UserError where the disk fails: only the
        former is a fact about the image, which may be left out.
        """
        item = self.items[i]
        if not isinstance(item, str):
            return self._resized(Image.fromarray(item)), "RGB"
        try:
            with open(item, "rb") as file:
                content = io.BytesIO(file.read())
        except OSError as error:
            raise UserError(
                f"{item} cannot be read ({error.strerror}); mend that and go on"
            ) from None
        try:
            with Image.open(content) as image:
                return self._resized(image.convert("RGB")), image.mode
        except MemoryError:
            raise
        except UnidentifiedImageError:  # its message has an address in memory
            raise Unreadable("no image in any format that Pillow reads") from None
        except Exception as error:  # decoders fail in many ways on damaged files
            raise Unreadable(f"{type(error).__name__}: {error}".splitlines()[0]) from None

    def _resized(self, image: Image.Image) -> Image.Image:
        if self.dataset.crop == "padded":
            size = (self.dataset.resolution, self.dataset.resolution)
        else:
            shorter, to = min(image.size), self.dataset.short_side
            if to is None or shorter <= to:
                return image
            size = (
                image.width * to // shorter,
                image.height * to // shorter,
            )  # rounded as torchvision's Resize does
        return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
