"""CIFAR-100: the official pickles with fine labels, their archive, and image folders of them."""

import hashlib
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR100

from clr.config import load
from clr.data import count_classes, find_prepared, open_loader, prepare
from clr.data.sources import open_source
from clr.errors import UserError

FINE = [f"fine {label:02}" for label in range(100)]
COARSE = [f"coarse {label:02}" for label in range(20)]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def dataset(path: Path):
    return load(["dataset=cifar100", f"dataset.path={path}"]).dataset


@pytest.fixture
def official(tmp_path, monkeypatch) -> Path:
    """A small copy of what the official archive has, which torchvision accepts for the real one."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "official" / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, size in (("train", 200), ("test", 100)):
        labels = rng.permutation(np.arange(size) % 100).tolist()
        content = {
            "filenames": [f"{i}.png" for i in range(size)],
            "batch_label": f"{name} batch",
            "fine_labels": labels,
            "coarse_labels": [label // 5 for label in labels],
            "data": rng.integers(0, 256, (size, 3072), dtype=np.uint8),
        }
        (folder / name).write_bytes(pickle.dumps(content))
    meta = {"fine_label_names": FINE, "coarse_label_names": COARSE}
    (folder / "meta").write_bytes(pickle.dumps(meta))
    (folder / "file.txt~").write_text("as in the official archive")
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5(folder / "train")]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5(folder / "test")]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5(folder / "meta")})
    monkeypatch.setattr(CIFAR100, "url", "http://127.0.0.1:9/closed")
    return folder.parent


def test_official_pickles_are_read_with_fine_labels(official, tmp_path):
    source = open_source(dataset(official))
    assert (source.label, source.classes, source.num_classes) == ("CIFAR-100", FINE, 100)
    stored = pickle.loads((official / "cifar-100-python" / "train").read_bytes())
    train = source.split("train")
    assert train.labels.tolist() == stored["fine_labels"]
    assert (train[13].transpose(2, 0, 1).reshape(-1) == stored["data"][13]).all()
    info = prepare(dataset(official), str(tmp_path / "data"), "torch")
    assert (info.label, len(info.classes), info.num_train, info.num_test) == (
        "CIFAR-100",
        100,
        200,
        100,
    )
    batch, *_ = open_loader(info, "test", 100, "memory", 0).epoch()
    assert sorted(batch.labels.tolist()) == list(range(100))


def test_the_archive_that_torchvision_downloads_is_unpacked(official, tmp_path, monkeypatch):
    path = tmp_path / "cifar100"
    path.mkdir()
    archive = path / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(official / "cifar-100-python", "cifar-100-python")
    monkeypatch.setattr(CIFAR100, "tgz_md5", md5(archive))
    info = prepare(dataset(path), str(tmp_path / "data"), "torch")
    assert (info.num_train, len(info.classes)) == (200, 100)
    assert sorted(os.listdir(path)) == [
        ".download.lock",
        "cifar-100-python",
        "cifar-100-python.tar.gz",
    ]


def test_before_a_download_the_number_of_classes_is_known(tmp_path):
    assert count_classes(dataset(tmp_path / "nowhere")) == 100
    assert find_prepared(dataset(tmp_path / "nowhere"), str(tmp_path / "data"), "torch") is None
    assert os.listdir(tmp_path) == []


def test_damaged_pickles_and_failed_downloads_say_what_to_do(official, tmp_path):
    with pytest.raises(UserError, match=r"put cifar-100-python .* into") as caught:
        prepare(dataset(tmp_path / "nowhere"), str(tmp_path / "data"), "torch")
    assert str(caught.value).startswith("CIFAR-100 is not in")
    (official / "cifar-100-python" / "train").write_bytes(b"half")
    with pytest.raises(UserError, match="cifar-100-python is incomplete or damaged"):
        open_source(dataset(official)).split("train")


def test_an_image_folder_is_named_as_a_copy(data_folder):
    assert open_source(dataset(data_folder)).label == "CIFAR-100 (image folder)"
    for path in data_folder.glob("*/*/*.png"):
        path.rename(path.with_suffix(".JPEG"))
    source = open_source(dataset(data_folder))
    assert (source.label, source.kind) == ("CIFAR-100 (JPEG copy)", "cifar100-jpeg")
    assert source.num_classes == 3
