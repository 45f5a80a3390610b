"""Augmentation and normalisation, on the device that trains."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clr.data.info import DatasetInfo
from clr.data.order import Purpose, draw


class Transform:
    """Turns batches of uint8 images (B, H, W, 3) into normalised float32 images (B, 3, H, W), channels_last in memory.

    Training images are padded on each side with `crop_padding` black pixels (zeros before normalisation, as
    torchvision's RandomCrop pads images), cropped at random to their old size and, with `flip`, mirrored with
    probability 1/2. What befalls an image depends on (seed, epoch, sample id) alone. Images of a dataset with
    crop=random_resized come cropped from the loader, and are only mirrored here.
    """

    def __init__(self, info: DatasetInfo, crop_padding: int, flip: bool) -> None:
        self.crop_padding = crop_padding if info.config.crop == "padded" else 0
        self.flip = flip
        mean, std = np.array(info.mean), np.array(info.std)
        std[std == 0] = 1  # a constant channel becomes zero instead of NaN
        # (x / 255 - mean) / std, as one multiplication and one addition
        self._scale = torch.tensor(1 / (255 * std), dtype=torch.float32).view(1, 3, 1, 1)
        self._shift = torch.tensor(-mean / std, dtype=torch.float32).view(1, 3, 1, 1)

    def train(self, images: Tensor, ids: Tensor, seed: int, epoch: int) -> Tensor:
        """`images` (B, H, W, 3) on any device, `ids` (B,) int64 on the host."""
        if self.crop_padding or self.flip:
            images = self._augment(images, *self.draws(ids, seed, epoch))
        return self.test(images)

    def test(self, images: Tensor) -> Tensor:
        """Normalisation only."""
        x = images.permute(0, 3, 1, 2).to(
            torch.float32
        )  # keeps the memory as it lies, which is channels_last
        self._scale, self._shift = self._scale.to(x.device), self._shift.to(x.device)  # moved once
        return x.mul_(self._scale).add_(self._shift)

    def draws(
        self, ids: Tensor, seed: int, epoch: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each sample: the crop's dy and dx in 0..2·crop_padding, and whether it is mirrored (0 or 1), as int64."""
        bits = draw(seed, epoch, Purpose.AUGMENT, ids.numpy())
        offsets, low = np.uint64(2 * self.crop_padding + 1), np.uint64(0xFFFFFF)
        # 24 bits to an offset: a multiplication and a shift take them to 0..2·padding without a division
        dy = ((bits & low) * offsets) >> np.uint64(24)
        dx = (((bits >> np.uint64(24)) & low) * offsets) >> np.uint64(24)
        mirrored = (bits >> np.uint64(63)) * np.uint64(self.flip)
        return dy.astype(np.int64), dx.astype(np.int64), mirrored.astype(np.int64)

    def _augment(
        self, images: Tensor, dy: np.ndarray, dx: np.ndarray, mirrored: np.ndarray
    ) -> Tensor:
        """Crops and mirrors by one gather of whole pixels; uint8 (B, H, W, 3) as `images`."""
        b, h, w, _ = images.shape
        padded = F.pad(images, (0, 0, *[self.crop_padding] * 4))
        rows = dy[:, None] + np.arange(h)
        columns = np.where(mirrored[:, None], np.arange(w)[::-1], np.arange(w)) + dx[:, None]
        # Small index vectors cross to the device; the large index is made there.
        first = torch.from_numpy(
            (np.arange(b)[:, None] * padded.shape[1] + rows) * padded.shape[2]
        ).to(images.device)
        index = first[:, :, None] + torch.from_numpy(columns).to(images.device)[:, None, :]
        return padded.view(-1, 3).index_select(0, index.view(-1)).view(b, h, w, 3)
