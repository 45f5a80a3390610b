"""Datasets stored as JPEG in their own shapes and cropped by the loader."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from data_cases import LOADERS
from PIL import Image

from clr.config import DatasetConfig, load
from clr.data import open_loader, prepare
from clr.data.beton import Beton
from clr.data.resize import crop_and_resize
from clr.data.sources import open_source

pytestmark = pytest.mark.slow


@pytest.fixture
def config(imagenet_folder) -> DatasetConfig:
    return DatasetConfig(
        name="small",
        source="imagenet",
        path=str(imagenet_folder),
        resolution=24,
        crop="random_resized",
        short_side=40,
    )


@pytest.fixture
def info(config, tmp_path):
    return prepare(config, str(tmp_path / "data"), "auto")


def images(info, loader, split="train", *, batch_size=9, workers=1, epoch=(0, 0, 0)):
    """The images of an epoch, given as (seed, epoch, start), and their ids."""
    batches = list(open_loader(info, split, batch_size, loader, workers).epoch(*epoch))
    return torch.cat([b.images for b in batches]), torch.cat([b.ids for b in batches])


def test_unreadable_originals_are_listed_with_the_reason(config, tmp_path, capfd):
    info = prepare(config, str(tmp_path / "data"), "torch")
    path = os.path.join(info.folder, "skipped.txt")
    message = f"4 originals cannot be read and are left out, see {path}"
    assert message in capfd.readouterr().err
    lines = [line.split("\t") for line in Path(path).read_text().splitlines()]
    names = [os.path.basename(original) for original, _ in lines]
    reasons = [reason for _, reason in lines]
    assert names == ["n02_2.JPEG", "n02_4.JPEG", "n02_5.JPEG", "n02_0.JPEG"]
    assert "truncated" in reasons[0]
    assert reasons[1] == "the file is empty"
    assert reasons[2] == reasons[3] == "not an image in any format that Pillow reads"
    prepare(config, str(tmp_path / "data"), "torch")
    assert capfd.readouterr().err == "", "the message is printed after the conversion only"


def test_skipped_and_converted_originals_are_counted(info):
    manifest = json.loads(Path(info.folder, "manifest.json").read_text())
    assert manifest["skipped"] == info.skipped == 4
    assert manifest["converted"] == info.converted == {"L": 1, "CMYK": 1, "RGBA": 1}
    assert (info.num_train, info.num_test) == (27, 11)
    assert Beton(info.beton("train")).labels.tolist() == [0] * 10 + [1] * 7 + [2] * 10


def test_stored_images_are_bounded_and_near_the_originals(config, info):
    beton, source, total = Beton(info.beton("test")), open_source(config).split("test"), 0
    kept = [i for i in range(12) if i != 4]  # the first of n02 is a text
    for k, i in enumerate(kept):
        stored = np.array(Image.open(io.BytesIO(beton.data(k)))).astype(int)
        original = Image.open(source.items[i])
        assert min(stored.shape[:2]) == min(40, *original.size)
        assert (beton.heights[k], beton.widths[k]) == stored.shape[:2]
        total += abs(stored - source[i]).mean()
    assert total / len(kept) < 8, "other images differ by about 70"


def test_moments_are_of_the_pixels_before_compression(config, info):
    train = open_source(config).split("train")
    readable = [i for i in range(30) if i not in (12, 14, 15)]
    pixels = np.concatenate([train[i].reshape(-1, 3) for i in readable]) / 255
    assert np.allclose(info.mean, pixels.mean(axis=0), rtol=1e-12)
    assert np.allclose(info.std, pixels.std(axis=0))


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_crops_depend_on_seed_epoch_and_id_alone(info, loader):
    expected, ids = images(info, loader)
    assert expected.shape == (27, 24, 24, 3)
    assert expected.dtype == torch.uint8
    for workers, batch_size in [(0, 9), (2, 9), (1, 3)]:
        again, order = images(info, loader, workers=workers, batch_size=batch_size)
        assert torch.equal(again, expected)
        assert torch.equal(order, ids)
    rest, _ = images(info, loader, epoch=(0, 0, 2))
    assert torch.equal(rest, expected[18:])
    for epoch in [(1, 0, 0), (0, 1, 0)]:
        other, order = images(info, loader, epoch=epoch)
        differs = (other[order.argsort()] != expected[ids.argsort()]).flatten(1).any(1)
        assert differs.float().mean() > 0.9


@pytest.mark.parametrize("split", ["train", "test"])
def test_loaders_agree(info, split):
    (ffcv, ids), (other, order) = (images(info, loader, split) for loader in LOADERS)
    assert torch.equal(ids, order)
    # None differs on photos (see BatchLoader); another libjpeg may round differently.
    assert (ffcv.int() - other.int()).abs().max() <= 3


@pytest.mark.parametrize("loader", LOADERS)
def test_test_images_are_the_central_square(info, loader):
    beton = Beton(info.beton("test"))
    for i, got in enumerate(images(info, loader, "test")[0]):
        image = Image.open(io.BytesIO(beton.data(i)))
        side = round(0.875 * min(image.size))
        left, top = (image.width - side) // 2, (image.height - side) // 2
        expected = image.crop((left, top, left + side, top + side)).resize(
            (24, 24), Image.Resampling.BILINEAR
        )
        # Pillow may resize the rows first and round differently.
        assert abs(got.numpy().astype(int) - np.array(expected)).max() <= 2


def test_compiled_resizing_is_identical_to_pillows():
    rng = np.random.default_rng(0)
    for _ in range(100):
        height, width = rng.integers(3, 90, 2)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
        y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        out = np.empty((24, 24, 3), np.uint8)
        crop_and_resize(image, (y, x, h, w), out)
        columns = Image.fromarray(image[y : y + h, x : x + w]).resize(
            (24, int(h)), Image.Resampling.BILINEAR
        )
        assert (out == np.array(columns.resize((24, 24), Image.Resampling.BILINEAR))).all()


def test_damaged_image_is_named_by_ffcv(info):
    beton = Beton(info.beton("test"))
    start = int(beton.metadata["f0"]["data_ptr"][3])
    with open(info.beton("test"), "r+b") as file:
        file.seek(start)
        file.write(bytes(int(beton.sizes[3])))
    with pytest.raises(RuntimeError, match=r"test\.beton is damaged: sample 3 cannot be decoded"):
        images(info, "ffcv", "test", batch_size=2)


def test_resolution_of_crops_is_part_of_the_fingerprint(config, info, tmp_path):
    config.resolution = 16
    other = prepare(config, str(tmp_path / "data"), "torch")
    assert other.fingerprint != info.fingerprint
    assert other.folder != info.folder


@pytest.mark.parametrize(
    ("name", "resolution", "short_side", "label"),
    [
        ("imagenet", 224, 256, "ImageNet"),
        ("imagenette", 128, 160, "Imagenette (stand-in for ImageNet)"),
    ],
)
def test_configurations_of_imagenet_and_imagenette(
    imagenet_folder, name, resolution, short_side, label
):
    dataset = load([f"dataset={name}", f"dataset.path={imagenet_folder}"]).dataset
    assert (dataset.name, dataset.source) == (name, "imagenet")
    assert (dataset.crop, dataset.flip) == ("random_resized", True)
    assert (dataset.resolution, dataset.short_side) == (resolution, short_side)
    assert dataset.jpeg_quality == 90
    assert open_source(dataset).label == label


def test_imagenette_at_32_pixels_is_stored_raw_and_not_augmented(imagenet_folder):
    dataset = load(["dataset=imagenette-32", f"dataset.path={imagenet_folder}"]).dataset
    assert (dataset.source, dataset.crop, dataset.resolution) == ("imagenet", "padded", 32)
    assert (dataset.crop_padding, dataset.flip) == (0, False)
    label = "Imagenette at 32 pixels (stand-in for ImageNet), 500 images"
    assert open_source(dataset).label == label
