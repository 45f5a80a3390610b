import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clr.config import DatasetConfig
from clr.data.sources import Folder, open_source
from clr.errors import UserError


def folder_config(path: Path, **more) -> DatasetConfig:
    return DatasetConfig(
        name="insects", source="folder", path=str(path), **{"resolution": 12, **more}
    )


def test_folder_has_sorted_classes_and_rgb_images_of_one_size(data_folder):
    source = open_source(folder_config(data_folder))
    assert source.classes == ["ant", "bee", "cat"]
    assert source.label == "insects"
    train = source.split("train")
    assert train.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert {train[i].shape for i in range(len(train))} == {(12, 12, 3)}
    grey = train[0]
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 0] == grey[..., 2]).all()
    with Image.open(data_folder / "train" / "ant" / "1.png") as rgba:
        assert rgba.mode == "RGBA"
        rgb = Image.fromarray(np.array(rgba)[..., :3]).resize((12, 12), Image.Resampling.BILINEAR)
    assert (train[1] == np.array(rgb)).all()


def test_image_of_the_right_size_is_taken_as_it_is(data_folder):
    pixels = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data_folder / "train" / "ant" / "00.png")  # sorts after 0.png
    assert (open_source(folder_config(data_folder)).split("train")[1] == pixels).all()


def test_subset_is_the_first_of_each_class(data_folder):
    source = open_source(folder_config(data_folder, train_samples=6, test_samples=3))
    whole = open_source(folder_config(data_folder)).split("train")
    train = source.split("train")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert all((train[i] == whole[j]).all() for i, j in enumerate([0, 1, 8, 9, 16, 17]))
    assert len(source.split("test")) == 3
    assert source.label == "insects, 6 images"


@pytest.mark.parametrize(
    ("samples", "message"),
    [(7, "not a multiple"), (0, "not a multiple"), (-3, "not a multiple"), (27, "at most 24")],
)
def test_impossible_subset(data_folder, samples, message):
    with pytest.raises(UserError, match=message):
        open_source(folder_config(data_folder, train_samples=samples)).split("train")


def test_folder_mistakes_are_named(data_folder, tmp_path):
    def mistake(path: Path) -> str:
        with pytest.raises(UserError) as caught:
            open_source(folder_config(path))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert str(tmp_path / "nowhere" / "train") in mistake(tmp_path / "nowhere")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    assert "no classes" in mistake(tmp_path / "empty")
    (data_folder / "train" / "dog").mkdir()
    assert str(data_folder / "train" / "dog") in mistake(data_folder)
    (data_folder / "train" / "dog" / "0.png").write_bytes(b"")
    assert mistake(data_folder).endswith("dog")  # test has no dogs
    for split in ("train", "test"):
        (tmp_path / "single" / split / "ant").mkdir(parents=True)
        (tmp_path / "single" / split / "ant" / "0.png").write_bytes(b"")
    assert mistake(tmp_path / "single").endswith(
        "has only the class ant; there must be two at least"
    )


def test_title_is_what_figures_call_it(data_folder):
    config = folder_config(data_folder, title="Insects of 1999", train_samples=6)
    assert open_source(config).label == "Insects of 1999, 6 images"


def test_imagenet_layout(imagenet_folder):
    source = open_source(
        DatasetConfig(name="x", source="imagenet", path=str(imagenet_folder), title="ImageNet")
    )
    assert (source.label, source.classes) == ("ImageNet", ["n01", "n02", "n03"])
    assert len(source.split("train")) == 30 and len(source.split("test")) == 12
    assert all(os.sep + "val" + os.sep in item for item in source.split("test").items)
    (imagenet_folder / "val").rename(imagenet_folder / "test")
    with pytest.raises(
        UserError,
        match=r"val is not a folder; dataset\.path must hold train/CLASS/\* and val/CLASS/\*",
    ):
        open_source(source.dataset)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"short_side": 20}, "dataset.short_side=null"),
        ({"crop": "random_resized", "short_side": 0}, "at least 1"),
        ({"crop": "random_resized", "jpeg_quality": 101}, "use 1 to 100"),
    ],
)
def test_impossible_storage(data_folder, keys, message):
    with pytest.raises(UserError, match=message):
        open_source(folder_config(data_folder, **keys))


def test_only_longer_images_are_resized_and_keep_their_shape(data_folder):
    pixels = np.random.default_rng(2).integers(0, 256, (41, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data_folder / "train" / "ant" / "00.png")  # sorts after 0.png
    train = open_source(folder_config(data_folder, crop="random_resized", short_side=20)).split(
        "train"
    )
    expected = Image.fromarray(pixels).resize((29, 20), Image.Resampling.BILINEAR)
    assert (train[1] == np.array(expected)).all()
    assert train[0].shape == (9, 14, 3)


def test_hidden_files_are_ignored(data_folder):
    (data_folder / "train" / "ant" / ".DS_Store").write_bytes(b"x")
    (data_folder / "train" / ".cache").mkdir()
    assert len(open_source(folder_config(data_folder)).split("train")) == 24


def test_unknown_source_and_missing_path():
    with pytest.raises(UserError, match="digits, cifar10, imagenet or folder"):
        open_source(DatasetConfig(name="x", source="mnist"))
    with pytest.raises(UserError, match=r"dataset\.path"):
        open_source(DatasetConfig(name="x", source="folder"))


def test_digits_split_is_stratified_and_disjoint():
    source = open_source(DatasetConfig(name="digits", source="digits", resolution=8))
    train, test = source.split("train"), source.split("test")
    assert (len(train), len(test)) == (1442, 355)
    share = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert (abs(share - 0.2) < 0.01).all()
    seen = {train[i].tobytes() for i in range(len(train))}
    assert not seen & {test[i].tobytes() for i in range(len(test))}
    first = train[0]
    assert train.labels[0] == 0 and first[0, :, 0].tolist() == [
        0,
        0,
        80,
        207,
        143,
        16,
        0,
        0,
    ]  # of 16: 0 0 5 13 9 1 0 0
    assert (first[..., 0] == first[..., 2]).all()


def test_subset_keeps_the_order_of_the_source():
    whole = open_source(DatasetConfig(name="digits", source="digits", resolution=8)).split("train")
    subset = open_source(
        DatasetConfig(name="digits", source="digits", resolution=8, train_samples=20)
    ).split("train")
    seen = [0] * 10
    first = []
    for i, label in enumerate(whole.labels):
        seen[label] += 1
        if seen[label] <= 2:
            first.append(i)
    assert subset.labels.tolist() == whole.labels[first].tolist()
    assert all((subset[i] == whole[j]).all() for i, j in enumerate(first))


def test_digits_are_enlarged():
    assert open_source(DatasetConfig(name="digits", source="digits")).split("test")[0].shape == (
        32,
        32,
        3,
    )


def write_batches(root: Path, each: int = 4) -> dict[str, Any]:
    """Small batches in CIFAR-10's format, and the checksums by which torchvision would know them for the real ones."""
    rng = np.random.default_rng(0)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    sums = {}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        content = {
            "data": rng.integers(0, 256, (each, 3072), dtype=np.uint8),
            "labels": rng.integers(0, 10, each).tolist(),
        }
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    return {
        "train_list": [[name, md5] for name, md5 in sums.items() if name != "test_batch"],
        "test_list": [["test_batch", sums["test_batch"]]],
        "meta": hashlib.md5((folder / "batches.meta").read_bytes()).hexdigest(),
    }


def cifar_config(path: Path) -> DatasetConfig:
    return DatasetConfig(name="cifar10", source="cifar10", path=str(path))


def test_official_batches_are_read_in_order(tmp_path, monkeypatch):
    # torchvision takes only files with the right checksums; the test's files get theirs into torchvision's tables.
    from torchvision.datasets import CIFAR10

    sums = write_batches(tmp_path)
    monkeypatch.setattr(CIFAR10, "train_list", sums["train_list"])
    monkeypatch.setattr(CIFAR10, "test_list", sums["test_list"])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["meta"]})
    source = open_source(cifar_config(tmp_path))
    assert source.label == "CIFAR-10"
    assert source.classes[3] == "cat"
    train = source.split("train")
    assert (len(train), len(source.split("test"))) == (20, 4)
    second = pickle.loads((tmp_path / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    assert (train[4].transpose(2, 0, 1).reshape(-1) == second["data"][0]).all()
    assert train.labels[4] == second["labels"][0]


def test_corrupt_batches_are_named(tmp_path):
    write_batches(tmp_path)  # well-formed, but not what torchvision's checksums expect
    with pytest.raises(UserError, match="cifar-10-batches-py is incomplete or damaged") as caught:
        open_source(cifar_config(tmp_path)).split("train")
    assert "\n" not in str(caught.value)


def test_cifar_folder_is_called_what_it_is(data_folder):
    assert open_source(cifar_config(data_folder)).label == "CIFAR-10 (image folder)"
    for path in data_folder.glob("*/*/*.png"):
        path.rename(path.with_suffix(".JPEG"))
    source = open_source(cifar_config(data_folder))
    assert source.label == "CIFAR-10 (JPEG copy)"
    assert isinstance(source, Folder)
    source.dataset.train_samples = 5000
    assert source.label == "CIFAR-10 (JPEG copy), 5,000 images"


def test_failed_download_says_where_to_put_the_data(tmp_path, monkeypatch):
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(UserError, match="put cifar-10-batches-py") as caught:
        open_source(cifar_config(tmp_path / "cifar10")).fetch()
    assert str(tmp_path / "cifar10") in str(caught.value) and "\n" not in str(caught.value)
