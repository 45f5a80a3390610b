"""Augmentation and normalization, on the device used for training."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clr.data.info import Crop, DatasetInfo
from clr.data.order import Purpose, draw
from clr.data.pinned import to_device


class Transform:
    """Map uint8 images (B, H, W, 3) to normalized float32 images (B, 3, H, W), channels_last.

    Training images are padded on each side with `crop_padding` black pixels (zeros before
    normalization, as in torchvision's RandomCrop), cropped at random to their original size and,
    with `flip`, mirrored with probability 1/2. The augmentation of an image depends on (seed,
    epoch, sample id) alone. Images of a dataset with crop=random_resized are cropped by the loader
    and only mirrored here.
    """

    def __init__(self, info: DatasetInfo, crop_padding: int, flip: bool) -> None:
        self.crop_padding = crop_padding if info.config.crop == Crop.PADDED else 0
        self.flip = flip
        mean, std = np.array(info.mean), np.array(info.std)
        std[std == 0] = 1  # a constant channel becomes zero instead of NaN
        # (x / 255 - mean) / std, as one multiplication and one addition
        self._scale = torch.tensor(1 / (255 * std), dtype=torch.float32).view(1, 3, 1, 1)
        self._shift = torch.tensor(-mean / std, dtype=torch.float32).view(1, 3, 1, 1)

    def train(self, images: Tensor, ids: Tensor, seed: int, epoch: int) -> Tensor:
        """Augment and normalize `images` on any device; `ids` (B,) are int64 on the host."""
        if self.crop_padding or self.flip:
            images = self._augment(images, *self.draws(ids, seed, epoch))
        return self.test(images)

    def test(self, images: Tensor) -> Tensor:
        """Normalize `images` only."""
        # The permuted view keeps its memory layout, which is channels_last.
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        self._scale = self._scale.to(x.device)  # copied on the first call only
        self._shift = self._shift.to(x.device)
        return x.mul_(self._scale).add_(self._shift)

    def draws(
        self, ids: Tensor, seed: int, epoch: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Random augmentation of each sample: int64 arrays dy, dx and mirrored, of shape (B,).

        The offsets dy and dx of the crop are in 0..2·crop_padding, mirrored is 0 or 1.
        """
        bits = draw(seed, epoch, Purpose.AUGMENT, ids.numpy())
        offsets, low = np.uint64(2 * self.crop_padding + 1), np.uint64(0xFFFFFF)
        # 24 bits per offset, scaled to 0..2·crop_padding by a multiplication and a shift.
        dy = ((bits & low) * offsets) >> np.uint64(24)
        dx = (((bits >> np.uint64(24)) & low) * offsets) >> np.uint64(24)
        mirrored = (bits >> np.uint64(63)) * np.uint64(self.flip)
        return dy.astype(np.int64), dx.astype(np.int64), mirrored.astype(np.int64)

    def _augment(
        self, images: Tensor, dy: np.ndarray, dx: np.ndarray, mirrored: np.ndarray
    ) -> Tensor:
        """Crop and mirror by one gather of whole pixels; the result has the shape of `images`."""
        b, h, w, _ = images.shape
        padded = F.pad(images, (0, 0, *[self.crop_padding] * 4))
        rows = dy[:, None] + np.arange(h)
        columns = np.where(mirrored[:, None], np.arange(w)[::-1], np.arange(w)) + dx[:, None]
        # Small index vectors are copied to the device; the large index is computed there.
        row_starts = (np.arange(b)[:, None] * padded.shape[1] + rows) * padded.shape[2]
        row_index = to_device(torch.from_numpy(row_starts), images.device)
        column_index = to_device(torch.from_numpy(columns), images.device)
        index = row_index[:, :, None] + column_index[:, None, :]
        return padded.view(-1, 3).index_select(0, index.view(-1)).view(b, h, w, 3)
