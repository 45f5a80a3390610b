"""Training of a ResNet with Lightning and a plain LightningModule: a peer of bench/peers.py.

    python bench/lightning_peer.py --data FOLDER --model resnet18 --pixels 32 --epochs 2 [--best]

Without `--best`, Trainer and DataLoader have their defaults.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import lightning
import torch
import torchvision
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2


class Classifier(lightning.LightningModule):
    """A torchvision model that is trained by vanilla SGD."""

    def __init__(self, model: str, channels_last: bool) -> None:
        super().__init__()
        self.network = getattr(torchvision.models, model)(num_classes=10)
        if channels_last:
            self.network.to(memory_format=torch.channels_last)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        loss = cross_entropy(self.network(batch[0]), batch[1])
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        accuracy = (self.network(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log("accuracy", accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def loader(folder: str, pixels: int, training: bool, options: dict[str, Any]) -> DataLoader[Any]:
    """A loader of an image folder, with padding, crop and flip for training."""
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    augmentation = [v2.RandomCrop(pixels, padding=4), v2.RandomHorizontalFlip()]
    transform = v2.Compose([*(augmentation if training else []), *to_tensor])
    return DataLoader(ImageFolder(folder, transform), shuffle=training, **options)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pixels", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--best", action="store_true")
    given = parser.parse_args()
    options: dict[str, Any] = {"batch_size": given.batch_size}
    settings: dict[str, Any] = {}
    if given.best:
        options |= {"num_workers": 1, "persistent_workers": True}
        settings |= {"precision": "bf16-mixed", "logger": False, "enable_checkpointing": False}
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=given.epochs, accelerator="cpu", default_root_dir=folder, **settings
        )
        trainer.fit(
            Classifier(given.model, channels_last=given.best),
            loader(f"{given.data}/train", given.pixels, True, options | {"drop_last": True}),
            loader(f"{given.data}/val", given.pixels, False, options),
        )


if __name__ == "__main__":
    main()
