import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import photo
from filelock import FileLock
from PIL import Image

from clr.config import DatasetConfig
from clr.data import open_loader, prepare, resolve_loader
from clr.data.beton import RECORD
from clr.data.images import Images
from clr.data.sources import open_source
from clr.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
LOADERS = ["ffcv", "torch"]


def test_manifest_tells_what_is_there(config, tmp_path):
    info = prepare(config, str(tmp_path / "data"), "ffcv")
    train, _ = (
        np.concatenate([b.images.numpy() for b in all_batches(info, s)]) for s in ("train", "test")
    )
    assert (info.name, info.label, info.classes) == ("insects", "insects", ("ant", "bee", "cat"))
    assert (info.num_train, info.num_test, info.resolution) == (24, 9, 12)
    assert np.allclose(info.mean, (train / 255.0).mean(axis=(0, 1, 2)), rtol=1e-12)
    assert np.allclose(info.std, (train / 255.0).std(axis=(0, 1, 2)), rtol=1e-12)
    assert os.path.dirname(info.folder) == str(tmp_path / "data")
    assert sorted(os.listdir(info.folder)) == ["manifest.json", "test.beton", "train.beton"]


def all_batches(info, split, loader="ffcv"):
    return list(open_loader(info, split, 3, loader, 0).epoch())


def test_second_prepare_converts_nothing(config, tmp_path):
    info = prepare(config, str(tmp_path / "data"), "ffcv")
    before = os.stat(info.beton("train"))
    assert prepare(config, str(tmp_path / "data"), "ffcv") == info
    assert prepare(config, str(tmp_path / "data"), "torch") == info
    assert os.stat(info.beton("train")) == before


def test_fingerprint_is_of_pixels_and_labels(config, tmp_path):
    sha = hashlib.sha256()
    for split, n in (("train", 24), ("test", 9)):
        images = open_source(config).split(split)
        sha.update(
            f"{n} images of 12 pixels".encode() + b"".join(images[i].tobytes() for i in range(n))
        )
        sha.update(images.labels.astype("<i8").tobytes())
    # The ids of finished runs hold it: what is converted otherwise must keep it.
    assert prepare(config, str(tmp_path / "data"), "torch").fingerprint == sha.hexdigest()


@pytest.mark.parametrize("loader", LOADERS)
def test_fingerprint_changes_with_a_pixel(config, tmp_path, data_folder, loader):
    size = (12, 12, 3)
    path = data_folder / "train" / "bee" / "00.png"
    Image.fromarray(np.zeros(size, np.uint8)).save(path, compress_level=0)
    old = prepare(config, str(tmp_path / "data"), loader)
    pixels = np.zeros(size, np.uint8)
    pixels[5, 5, 1] = 1
    bytes_before = path.stat().st_size
    Image.fromarray(pixels).save(path, compress_level=0)
    assert path.stat().st_size == bytes_before  # so that names and sizes alone would not tell
    new = prepare(config, str(tmp_path / "data"), loader)
    assert new.fingerprint != old.fingerprint and new.folder != old.folder


def test_fingerprint_changes_with_a_label(config, tmp_path, data_folder):
    old = prepare(config, str(tmp_path / "data"), "torch")
    # The last ant becomes the first bee: the same pixels in the same order.
    (data_folder / "train" / "ant" / "7.png").rename(data_folder / "train" / "bee" / "-7.png")
    assert prepare(config, str(tmp_path / "data"), "torch").fingerprint != old.fingerprint


def test_resolution_and_subset_have_folders_of_their_own(config, tmp_path):
    folders = {prepare(config, str(tmp_path), "torch").folder}
    config.train_samples = 6
    folders.add(prepare(config, str(tmp_path), "torch").folder)
    config.resolution = 8
    folders.add(prepare(config, str(tmp_path), "torch").folder)
    assert len(folders) == 3


def test_class_without_images_is_named_and_nothing_is_left(config, tmp_path, data_folder):
    for path in (data_folder / "test" / "cat").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="no image of class cat for test can be read") as caught:
        prepare(config, str(tmp_path / "data"), "torch")
    assert "\n" not in str(caught.value)
    assert visible(tmp_path / "data") == [] and not list((tmp_path / "data").glob("*.partial"))


def test_failing_disk_is_no_reason_to_skip(config, tmp_path, data_folder):
    images = open_source(config).split("train")
    os.remove(images.items[3])
    with pytest.raises(UserError, match=r"3\.png cannot be read \(No such file"):
        images.read(3)


def visible(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def test_unwritable_data_dir(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set data_dir"):
        prepare(config, str(tmp_path / "file"), "torch")


def start_prepare(config: DatasetConfig, data: Path, loader: str) -> subprocess.Popen:
    code = f"""
from clr.config import DatasetConfig
from clr.data import prepare
print(prepare({config!r}, {str(data)!r}, {loader!r}).fingerprint)
"""
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("crop", ["padded", "random_resized"])
def test_conversion_killed_halfway_is_gone_on_with(
    config, tmp_path, data_folder, monkeypatch, crop
):
    photo(np.random.default_rng(0), 300, 400).save(data_folder / "train" / "ant" / "m.png")
    (data_folder / "train" / "ant" / "text.png").write_text("no image")
    for i in range(400):  # enough that the conversion takes a while
        os.link(
            data_folder / "train" / "ant" / "m.png", data_folder / "train" / "ant" / f"more{i}.png"
        )
    config.resolution, config.crop, data = 256, crop, tmp_path / "data"
    process = start_prepare(config, data, "torch")
    while not any(
        p.stat().st_size > 20 * RECORD.itemsize
        for p in data.glob(".insects-*.partial/train.beton.journal")
    ):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert visible(data) == []
    (journal,) = data.glob(".insects-*.partial/train.beton.journal")
    done = journal.stat().st_size // RECORD.itemsize
    assert 20 < done < 426
    with open(journal, "ab") as file:
        file.write(b"half a record")
    read, real = [], Images.read
    monkeypatch.setattr(Images, "read", lambda images, i: read.append(i) or real(images, i))
    info = prepare(config, str(data), "torch")
    assert len(read) == 426 - done + 9 + 1  # the one that is skipped is asked for its reason
    assert info.num_train == 425 and sorted(p.suffix for p in data.iterdir()) == ["", ".lock"]
    other = prepare(config, str(tmp_path / "other"), "torch").folder
    assert sorted(os.listdir(info.folder)) == [
        "manifest.json",
        "skipped.txt",
        "test.beton",
        "train.beton",
    ]
    for name in os.listdir(info.folder):
        assert Path(info.folder, name).read_bytes() == Path(other, name).read_bytes()


def test_killed_before_the_last_rename(config, tmp_path):
    info = prepare(config, str(tmp_path), "torch")
    folder = Path(info.folder)
    folder.rename(folder.parent / f".{folder.name}.partial")
    (folder.parent / f".{folder.name}.partial" / "train.beton.journal").write_bytes(b"left")
    before = os.stat(folder.parent / f".{folder.name}.partial" / "train.beton")
    assert prepare(config, str(tmp_path), "torch") == info
    assert os.stat(info.beton("train")).st_mtime_ns == before.st_mtime_ns
    assert sorted(os.listdir(info.folder)) == ["manifest.json", "test.beton", "train.beton"]


def test_betons_without_a_manifest_do_not_count(config, tmp_path):
    info = prepare(config, str(tmp_path), "ffcv")
    whole = Path(info.beton("train")).read_bytes()
    os.remove(os.path.join(info.folder, "manifest.json"))  # as if killed between the files' moves
    os.truncate(info.beton("train"), 5)
    assert prepare(config, str(tmp_path), "ffcv") == info
    assert (
        Path(info.beton("train")).read_bytes() == whole
    )  # the same bytes each time: processes may overlap


def test_several_at_once(config, tmp_path):
    processes = [
        start_prepare(config, tmp_path / "data", loader) for loader in ("torch", "ffcv", "torch")
    ]
    outputs = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(outputs) == 1
    (folder,) = visible(tmp_path / "data")
    manifest = json.loads((tmp_path / "data" / folder / "manifest.json").read_text())
    assert manifest["fingerprint"] == outputs.pop().strip()


def test_second_waits_for_the_lock_and_finds_it_done(config, tmp_path, capfd):
    info = prepare(config, str(tmp_path / "data"), "torch")
    folder = Path(info.folder)
    hidden = folder.rename(tmp_path / "done")
    pool = ThreadPoolExecutor()
    with FileLock(folder.parent / f".{folder.name}.lock"):
        second = pool.submit(prepare, config, str(tmp_path / "data"), "torch")
        time.sleep(0.3)
        assert not second.done() and not list(folder.parent.glob("*.partial"))
        hidden.rename(folder)
        before = os.stat(info.beton("train"))
    assert second.result(timeout=20) == info
    assert os.stat(info.beton("train")) == before
    assert "another process is converting it; waiting" in capfd.readouterr().err


def test_without_ffcv_auto_is_torch(data_folder, tmp_path):
    code = f"""
import sys
sys.modules["ffcv"] = None  # importing it now raises ImportError
from clr.config import DatasetConfig
from clr.data import open_loader, prepare, resolve_loader
from clr.errors import UserError
assert resolve_loader("auto") == "torch"
config = DatasetConfig(name="insects", source="folder", path={str(data_folder)!r}, resolution=12)
info = prepare(config, {str(tmp_path / "data")!r}, "auto")
assert len(list(open_loader(info, "train", 5, "auto", 0).epoch(0, 0))) == 4
try:
    prepare(config, {str(tmp_path / "data")!r}, "ffcv")
except UserError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    for part in ("libopencv-dev libturbojpeg0-dev pkg-config g++", "loader=torch"):
        assert part in done.stdout
    assert done.stdout.count("\n") == 1


def test_resolve_loader_where_ffcv_is_built():
    assert [resolve_loader(name) for name in ("auto", "ffcv", "torch")] == ["ffcv", "ffcv", "torch"]
    with pytest.raises(UserError, match="auto, ffcv or torch"):
        resolve_loader("dali")
