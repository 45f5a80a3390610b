"""Original images of one split, decoded to RGB at the size in which they are stored."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from clr.config import DatasetConfig
from clr.data.info import Crop
from clr.data.pixels import Unreadable, to_rgb
from clr.errors import UserError, first_line


@dataclass(frozen=True)
class Images:
    """The images of one split, decoded on demand."""

    items: np.ndarray | list[str]  # uint8 of shape (n, h, w, 3), or the paths of n files
    labels: np.ndarray  # int64 of shape (n,)
    dataset: DatasetConfig

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> np.ndarray:
        """Image i: uint8 of shape (H, W, 3). Raises as `read` does."""
        return np.array(self.read(i)[0])

    def read(self, i: int) -> tuple[Image.Image, str]:
        """Image i in RGB at the size to be stored, and Pillow's name of its original mode.

        `to_rgb` describes the conversion. EXIF rotation is not applied, as in torchvision's
        ImageFolder. The first image of a file with several (animation, multi-page TIFF) is used.

        Raises:
            Unreadable: Pillow cannot decode the file. It may be left out: the file itself is bad.
            UserError: the file system fails. The file may be good, so nothing may be left out.
        """
        item = self.items[i]
        if not isinstance(item, str):
            return self._resized(Image.fromarray(item)), "RGB"
        try:
            with open(item, "rb") as file:
                content = file.read()
        except OSError as error:
            raise UserError(
                f"{item} cannot be read ({error.strerror}); fix that and run the command again"
            ) from None
        if not content:
            raise Unreadable("the file is empty")
        try:
            with Image.open(io.BytesIO(content)) as image:
                return self._resized(to_rgb(image)), image.mode
        except (MemoryError, Unreadable):
            raise
        except UnidentifiedImageError:  # its message contains an address in memory
            raise Unreadable("not an image in any format that Pillow reads") from None
        except Exception as error:  # decoders raise many types on damaged files
            raise Unreadable(f"{type(error).__name__}: {first_line(error)}") from None

    def _resized(self, image: Image.Image) -> Image.Image:
        size = self._stored_size(image)
        return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)

    def _stored_size(self, image: Image.Image) -> tuple[int, int]:
        """Width and height in which the image is stored."""
        if self.dataset.crop == Crop.PADDED:
            return self.dataset.resolution, self.dataset.resolution
        shorter, limit = min(image.size), self.dataset.short_side
        if limit is None or shorter <= limit:
            return image.size
        # Rounded as torchvision's Resize does.
        return image.width * limit // shorter, image.height * limit // shorter
