"""Conversion: what is stored, fingerprints, interruptions and several processes at once."""

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_cases import ROOT, photo, start_prepare, visible, wait_until
from filelock import FileLock
from PIL import Image

from clr.config import DatasetConfig
from clr.data import find_prepared, open_loader, prepare, prepare_once
from clr.data.beton import RECORD
from clr.data.images import Images
from clr.data.loaders import resolve_loader
from clr.data.memory import LARGEST
from clr.data.sources import open_source
from clr.errors import UserError


def pixels_of(info, split: str) -> np.ndarray:
    """The images of a split."""
    batches = open_loader(info, split, 3, "torch", 0).epoch()
    return np.concatenate([batch.images.numpy() for batch in batches])


def test_manifest_describes_the_stored_images(config, tmp_path):
    info = prepare(config, str(tmp_path / "data"), "torch")
    train = pixels_of(info, "train") / 255
    assert (info.name, info.label, info.classes) == ("insects", "insects", ("ant", "bee", "cat"))
    assert (info.num_train, info.num_test, info.resolution) == (24, 9, 12)
    assert (info.size("train"), info.size("test")) == (24, 9)
    assert np.allclose(info.mean, train.mean(axis=(0, 1, 2)), rtol=1e-12)
    assert np.allclose(info.std, train.std(axis=(0, 1, 2)), rtol=1e-12)
    assert os.path.dirname(info.folder) == str(tmp_path / "data")
    assert sorted(os.listdir(info.folder)) == ["manifest.json", "test.beton", "train.beton"]


@pytest.mark.parametrize("loader", ["ffcv", "torch"])
@pytest.mark.parametrize("function", [prepare, prepare_once, find_prepared])
def test_converted_data_are_found_again_for_either_loader(config, tmp_path, loader, function):
    info = prepare(config, str(tmp_path / "data"), "torch")
    before = os.stat(info.beton("train"))
    assert function(config, str(tmp_path / "data"), loader) == info
    assert os.stat(info.beton("train")) == before


def test_find_prepared_neither_converts_nor_writes(config, tmp_path):
    assert find_prepared(config, str(tmp_path / "data"), "torch") is None
    assert os.listdir(tmp_path) == ["images"]


def test_find_prepared_refuses_what_prepare_refuses(config, tmp_path):
    for function in (prepare, find_prepared):
        with pytest.raises(UserError, match="nowhere/train is not a folder"):
            function(replace(config, path="/nowhere"), str(tmp_path / "data"), "torch")


def test_prepare_once_distinguishes_its_arguments(config, tmp_path):
    first = prepare_once(config, str(tmp_path / "data"), "torch")
    assert prepare_once(config, str(tmp_path / "data"), "torch") is first
    assert prepare_once(config, str(tmp_path / "other"), "torch").folder != first.folder
    smaller = prepare_once(replace(config, train_samples=6), str(tmp_path / "data"), "torch")
    assert smaller.num_train == 6


def test_fingerprint_is_of_pixels_and_labels(config, tmp_path):
    sha = hashlib.sha256()
    for split, n in (("train", 24), ("test", 9)):
        images = open_source(config).split(split)
        sha.update(f"{n} images of 12 pixels".encode())
        for i in range(n):
            sha.update(images[i].tobytes())
        sha.update(images.labels.astype("<i8").tobytes())
    # It is part of the ids of completed runs, so another way of converting must not change it.
    assert prepare(config, str(tmp_path / "data"), "torch").fingerprint == sha.hexdigest()


def test_fingerprint_of_the_digits_is_the_committed_one(tmp_path):
    config = DatasetConfig(name="digits", source="digits", resolution=16)
    fingerprint = prepare(config, str(tmp_path), "torch").fingerprint
    lines = (ROOT / "results" / "quick" / "runs.jsonl").read_text().splitlines()
    assert {json.loads(line)["data"]["fingerprint"] for line in lines} == {fingerprint}


def test_fingerprint_changes_with_a_pixel(config, tmp_path, data_folder):
    path = data_folder / "train" / "bee" / "00.png"
    pixels = np.zeros((12, 12, 3), np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)
    size_before = path.stat().st_size
    before = prepare(config, str(tmp_path / "data"), "torch")
    pixels[5, 5, 1] = 1
    Image.fromarray(pixels).save(path, compress_level=0)
    assert path.stat().st_size == size_before, "the size alone would reveal the change"
    after = prepare(config, str(tmp_path / "data"), "torch")
    assert after.fingerprint != before.fingerprint
    assert after.folder != before.folder


def test_fingerprint_changes_with_a_label(config, tmp_path, data_folder):
    before = prepare(config, str(tmp_path / "data"), "torch")
    # The last ant becomes the first bee: the same pixels in the same order.
    (data_folder / "train" / "ant" / "7.png").rename(data_folder / "train" / "bee" / "-7.png")
    after = prepare(config, str(tmp_path / "data"), "torch")
    assert after.fingerprint != before.fingerprint


def test_each_resolution_and_subset_has_its_own_folder(config, tmp_path):
    configs = [config, replace(config, train_samples=6), replace(config, resolution=8)]
    assert len({prepare(c, str(tmp_path), "torch").folder for c in configs}) == 3


def test_class_without_readable_images_is_named_and_nothing_is_kept(config, tmp_path, data_folder):
    for path in (data_folder / "test" / "cat").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="no test image of class cat can be read") as caught:
        prepare(config, str(tmp_path / "data"), "torch")
    assert "\n" not in str(caught.value)
    assert visible(tmp_path / "data") == []
    assert list((tmp_path / "data").glob("*.partial")) == []


def test_file_that_vanished_is_an_error_and_not_a_reason_to_skip(config, data_folder):
    images = open_source(config).split("train")
    os.remove(images.items[3])
    with pytest.raises(UserError, match=r"3\.png cannot be read \(No such file"):
        images.read(3)


def test_unwritable_data_dir_is_named(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set data_dir"):
        prepare(config, str(tmp_path / "file"), "torch")


def many_photos(data_folder: Path) -> None:
    """Add 151 photos and a text to the ants, so that their conversion takes a while."""
    ants = data_folder / "train" / "ant"
    photo(np.random.default_rng(0), 300, 400).save(ants / "m.png")
    (ants / "text.png").write_text("not an image")
    for i in range(150):
        os.link(ants / "m.png", ants / f"more{i}.png")


@pytest.mark.parametrize("crop", ["padded", "random_resized"])
@pytest.mark.slow
def test_killed_conversion_is_resumed_with_identical_files(
    config, tmp_path, data_folder, monkeypatch, crop
):
    many_photos(data_folder)
    config.resolution, config.crop, data = 256, crop, tmp_path / "data"
    process = start_prepare(config, data, tmp_path / "output")
    pattern = ".insects-*.partial/train.beton.journal"
    wait_until(
        lambda: any(p.stat().st_size > 20 * RECORD.itemsize for p in data.glob(pattern)), process
    )
    process.kill()
    process.join()
    assert visible(data) == []
    (journal,) = data.glob(pattern)
    done = journal.stat().st_size // RECORD.itemsize
    assert 20 < done < 176
    with open(journal, "ab") as file:
        file.write(b"half a record")

    read, real_read = [], Images.read
    monkeypatch.setattr(Images, "read", lambda images, i: read.append(i) or real_read(images, i))
    info = prepare(config, str(data), "torch")
    assert len(read) == 176 - done + 9 + 1, "the skipped image is read twice, for its reason"
    assert info.num_train == 175
    assert sorted(path.suffix for path in data.iterdir()) == ["", ".lock"]
    names = ["manifest.json", "skipped.txt", "test.beton", "train.beton"]
    assert sorted(os.listdir(info.folder)) == names
    other = prepare(config, str(tmp_path / "other"), "torch").folder
    for name in names:
        assert Path(info.folder, name).read_bytes() == Path(other, name).read_bytes(), name


def test_conversion_killed_before_its_last_rename_is_kept(config, tmp_path):
    info = prepare(config, str(tmp_path), "torch")
    folder = Path(info.folder)
    partial = folder.rename(folder.parent / f".{folder.name}.partial")
    (partial / "train.beton.journal").write_bytes(b"left over")
    before = os.stat(partial / "train.beton")
    assert prepare(config, str(tmp_path), "torch") == info
    assert os.stat(info.beton("train")).st_mtime_ns == before.st_mtime_ns
    assert sorted(os.listdir(info.folder)) == ["manifest.json", "test.beton", "train.beton"]


def test_files_without_a_manifest_are_converted_again(config, tmp_path):
    info = prepare(config, str(tmp_path), "torch")
    content = Path(info.beton("train")).read_bytes()
    os.remove(os.path.join(info.folder, "manifest.json"))
    os.truncate(info.beton("train"), 5)
    assert prepare(config, str(tmp_path), "torch") == info
    assert Path(info.beton("train")).read_bytes() == content


def test_several_processes_convert_once(config, tmp_path):
    outputs = [tmp_path / f"output{i}" for i in range(3)]
    processes = [start_prepare(config, tmp_path / "data", output) for output in outputs]
    for process in processes:
        process.join(60)
    texts = [output.read_text() for output in outputs]
    assert [process.exitcode for process in processes] == [0, 0, 0], texts
    (folder,) = visible(tmp_path / "data")
    manifest = json.loads((tmp_path / "data" / folder / "manifest.json").read_text())
    assert {text.splitlines()[-1] for text in texts} == {manifest["fingerprint"]}


def test_second_process_waits_for_the_lock_and_uses_the_result(config, tmp_path, capfd):
    info = prepare(config, str(tmp_path / "data"), "torch")
    folder = Path(info.folder)
    finished = folder.rename(tmp_path / "finished")
    pool = ThreadPoolExecutor()
    with FileLock(folder.parent / f".{folder.name}.lock"):
        second = pool.submit(prepare, config, str(tmp_path / "data"), "torch")
        time.sleep(0.3)
        assert not second.done()
        assert list(folder.parent.glob("*.partial")) == []
        finished.rename(folder)
        before = os.stat(info.beton("train"))
    assert second.result(timeout=20) == info
    assert os.stat(info.beton("train")) == before
    assert "another process is converting it; waiting" in capfd.readouterr().err


@pytest.mark.slow
def test_without_ffcv_auto_is_torch_for_stored_jpeg(imagenet_folder, tmp_path):
    code = f"""
import sys
sys.modules["ffcv"] = None  # importing it now raises ImportError
from clr.config import DatasetConfig
from clr.data import open_loader, prepare
from clr.data.loaders import resolve_loader
from clr.errors import UserError
config = DatasetConfig(
    name="insects", source="imagenet", path={str(imagenet_folder)!r}, resolution=12,
    crop="random_resized", crop_padding=0, short_side=16,
)
info = prepare(config, {str(tmp_path / "data")!r}, "auto")
assert resolve_loader("auto", info) == "torch"
assert len(list(open_loader(info, "train", 5, "auto", 0).epoch(0, 0))) == info.num_train // 5
try:
    prepare(config, {str(tmp_path / "data")!r}, "ffcv")
except UserError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    for advice in ("libopencv-dev libturbojpeg0-dev pkg-config g++", "loader=torch"):
        assert advice in done.stdout
    assert done.stdout.count("\n") == 1


def test_small_raw_datasets_are_read_from_memory_and_larger_ones_by_ffcv(info):
    size = (info.num_train + info.num_test) * 12 * 12 * 3
    names = ("auto", "memory", "ffcv", "torch")
    assert [resolve_loader(name, info) for name in names] == ["memory", "memory", "ffcv", "torch"]
    at_bound = replace(info, num_test=LARGEST // (12 * 12 * 3) - info.num_train)
    assert size < at_bound.size("test") * 12 * 12 * 3 <= LARGEST
    assert resolve_loader("auto", at_bound) == "memory"
    above = replace(at_bound, num_test=at_bound.num_test + 1)
    assert resolve_loader("auto", above) == "ffcv"
    assert resolve_loader("memory", above) == "memory"


def test_stored_jpeg_is_not_read_from_memory(info):
    jpeg = replace(info, config=replace(info.config, crop="random_resized"))
    assert resolve_loader("auto", jpeg) == "ffcv"
    with pytest.raises(UserError, match=r"is stored as JPEG .*; use loader=auto"):
        resolve_loader("memory", jpeg)


def test_an_unknown_loader_is_refused(info):
    with pytest.raises(UserError, match="use one of auto, memory, ffcv, torch"):
        resolve_loader("dali", info)
