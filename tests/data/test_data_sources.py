"""Sources of original images: digits, image folders, ImageNet's layout, subsets and settings."""

import os

import numpy as np
import pytest
from data_cases import folder_config
from PIL import Image

from clr.config import DatasetConfig
from clr.data.sources import open_source
from clr.errors import UserError


def digits(**changes):
    return open_source(DatasetConfig(name="digits", source="digits", **changes))


def test_folder_has_sorted_classes_and_rgb_images_of_one_size(data_folder):
    source = open_source(folder_config(data_folder))
    assert source.classes == ["ant", "bee", "cat"]
    assert source.label == "insects"
    train = source.split("train")
    assert train.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert {train[i].shape for i in range(len(train))} == {(12, 12, 3)}


def test_gray_image_has_three_equal_channels(data_folder):
    gray = open_source(folder_config(data_folder)).split("train")[0]
    assert (gray[..., 0] == gray[..., 1]).all()
    assert (gray[..., 0] == gray[..., 2]).all()


def test_alpha_is_dropped_before_resizing(data_folder):
    with Image.open(data_folder / "train" / "ant" / "1.png") as rgba:
        assert rgba.mode == "RGBA"
        rgb = Image.fromarray(np.array(rgba)[..., :3]).resize((12, 12), Image.Resampling.BILINEAR)
    assert (open_source(folder_config(data_folder)).split("train")[1] == np.array(rgb)).all()


def test_image_of_the_right_size_is_stored_unchanged(data_folder):
    pixels = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data_folder / "train" / "ant" / "00.png")  # sorted after 0.png
    assert (open_source(folder_config(data_folder)).split("train")[1] == pixels).all()


def test_subset_has_the_first_images_of_each_class(data_folder):
    source = open_source(folder_config(data_folder, train_samples=6, test_samples=3))
    whole = open_source(folder_config(data_folder)).split("train")
    train = source.split("train")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    for i, j in enumerate([0, 1, 8, 9, 16, 17]):
        assert (train[i] == whole[j]).all(), f"image {i} of the subset is not image {j}"
    assert len(source.split("test")) == 3
    assert source.label == "insects, 6 images"


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (7, "not a positive multiple"),
        (0, "not a positive multiple"),
        (-3, "not a positive multiple"),
        (27, "at most 24"),
    ],
)
def test_impossible_subset_is_refused(data_folder, samples, message):
    with pytest.raises(UserError, match=message):
        open_source(folder_config(data_folder, train_samples=samples)).split("train")


def test_title_replaces_the_name_in_figures(data_folder):
    config = folder_config(data_folder, title="Insects of 1999", train_samples=6)
    assert open_source(config).label == "Insects of 1999, 6 images"


def test_imagenet_tests_on_val(imagenet_folder):
    source = open_source(
        DatasetConfig(name="x", source="imagenet", path=str(imagenet_folder), title="ImageNet")
    )
    assert (source.label, source.classes) == ("ImageNet", ["n01", "n02", "n03"])
    assert (len(source.split("train")), len(source.split("test"))) == (30, 12)
    assert {os.path.relpath(item, imagenet_folder)[:4] for item in source.split("test").items} == {
        "val/"
    }


def test_imagenet_without_val_is_refused(imagenet_folder):
    (imagenet_folder / "val").rename(imagenet_folder / "test")
    message = r"val is not a folder; .*paths\.imagenet\) must hold train/CLASS/\* and val/CLASS/\*"
    with pytest.raises(UserError, match=message):
        open_source(DatasetConfig(name="x", source="imagenet", path=str(imagenet_folder)))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"short_side": 20}, "dataset.short_side=null"),
        ({"crop": "random_resized", "short_side": 0}, "at least 1"),
        ({"crop": "random_resized", "jpeg_quality": 101}, "use 1 to 100"),
    ],
)
def test_impossible_storage_is_refused(data_folder, keys, message):
    with pytest.raises(UserError, match=message):
        open_source(folder_config(data_folder, **keys))


def test_only_larger_images_are_resized_to_the_short_side_and_keep_their_shape(data_folder):
    pixels = np.random.default_rng(2).integers(0, 256, (41, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data_folder / "train" / "ant" / "00.png")  # sorted after 0.png
    config = folder_config(data_folder, crop="random_resized", short_side=20)
    train = open_source(config).split("train")
    expected = Image.fromarray(pixels).resize((29, 20), Image.Resampling.BILINEAR)
    assert (train[1] == np.array(expected)).all()
    assert train[0].shape == (9, 14, 3)


def test_unknown_source_is_refused():
    with pytest.raises(UserError, match="digits, cifar10, cifar100, imagenet or folder"):
        open_source(DatasetConfig(name="x", source="mnist"))


def test_digits_are_split_by_class_without_overlap():
    source = digits(resolution=8)
    train, test = source.split("train"), source.split("test")
    assert (len(train), len(test)) == (1442, 355)
    share = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert abs(share - 0.2).max() < 0.01
    seen = {train[i].tobytes() for i in range(len(train))}
    assert seen.isdisjoint(test[i].tobytes() for i in range(len(test)))


def test_digits_are_scaled_from_16_to_255():
    train = digits(resolution=8).split("train")
    assert train.labels[0] == 0
    expected = [0, 0, 80, 207, 143, 16, 0, 0]  # scikit-learn's 0 0 5 13 9 1 0 0
    for channel in range(3):
        assert train[0][0, :, channel].tolist() == expected


def test_subset_keeps_the_order_of_the_source():
    whole = digits(resolution=8).split("train")
    subset = digits(resolution=8, train_samples=20).split("train")
    seen = [0] * 10
    first = []
    for i, label in enumerate(whole.labels):
        seen[label] += 1
        if seen[label] <= 2:
            first.append(i)
    assert subset.labels.tolist() == whole.labels[first].tolist()
    for i, j in enumerate(first):
        assert (subset[i] == whole[j]).all(), f"image {i} of the subset is not image {j}"


def test_digits_are_resized_to_the_resolution():
    assert digits().split("test")[0].shape == (32, 32, 3)
