"""FFCV's file format: our writer and reader compared with FFCV itself, and resumed writing."""

import io
import pickle
import shutil

import numpy as np
import pytest
from data_cases import photo
from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.reader import Reader
from PIL import Image

from clr.data.beton import JPG, MIN_PAGE, RAW, RECORD, Beton, BetonWriter, journal, page_size

RNG = np.random.default_rng(0)
LABELS = [3, -1, 0, 2**31 - 1, -1, 1, 5]  # -1: skipped
KEPT = [label for label in LABELS if label >= 0]
LOADERS = []  # kept alive, because Numba fails if a compiled function is garbage-collected


def samples(mode: int, side: int) -> tuple[np.ndarray, list[bytes]]:
    """Records and data of one photo per label."""
    records, data = np.zeros(len(LABELS), RECORD), []
    for record, label in zip(records, LABELS, strict=True):
        image, file = photo(RNG, side, side), io.BytesIO()
        image.save(file, "JPEG")
        record["mode"], record["width"], record["height"], record["label"] = mode, side, side, label
        data.append(b"" if label < 0 else image.tobytes() if mode == RAW else file.getvalue())
    return records, data


def write(path, records, data) -> list[bytes]:
    """Write a file at once; return the data of the samples that are not skipped."""
    writer = BetonWriter(str(path), len(records), MIN_PAGE)
    writer.append(records.copy(), data)
    writer.finish()
    return [content for content in data if content]


def read_by_ffcv(path, os_cache: bool) -> tuple[np.ndarray, list[int]]:
    """Images and labels."""
    loader = Loader(
        str(path),
        batch_size=2,
        num_workers=1,
        os_cache=os_cache,
        order=OrderOption.SEQUENTIAL,
        seed=0,
        drop_last=False,
        pipelines={"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]},
    )
    LOADERS.append(loader)
    batches = [(images.copy(), labels.copy()) for images, labels in loader]
    labels = np.concatenate([labels for _, labels in batches]).ravel().tolist()
    return np.concatenate([images for images, _ in batches]), labels


@pytest.mark.parametrize(("mode", "os_cache"), [(RAW, True), (RAW, False), (JPG, True)])
@pytest.mark.slow
def test_ffcv_reads_the_samples(tmp_path, mode, os_cache):
    path = tmp_path / "x.beton"
    kept = write(path, *samples(mode, 600))  # a page holds only one raw image of this size
    images, labels = read_by_ffcv(path, os_cache)
    assert labels == KEPT
    for image, content in zip(images, kept, strict=True):
        if mode == RAW:
            assert image.tobytes() == content
        else:  # FFCV decodes with a faster, less accurate transform
            assert abs(image.astype(int) - np.array(Image.open(io.BytesIO(content)))).max() <= 6


def test_ffcv_reads_the_header_and_no_sample_crosses_a_page(tmp_path):
    kept = write(tmp_path / "x.beton", *samples(RAW, 600))
    reader = Reader(str(tmp_path / "x.beton"))
    assert reader.num_samples == 5
    assert reader.page_size == MIN_PAGE
    assert reader.field_names == ["image", "label"]
    assert reader.alloc_table["size"].tolist() == [len(content) for content in kept]
    first = reader.alloc_table["ptr"]
    last = first + reader.alloc_table["size"] - 1
    assert (first // MIN_PAGE == last // MIN_PAGE).all()


def test_our_reader_reads_the_samples_also_after_pickling(tmp_path):
    kept = write(tmp_path / "x.beton", *samples(JPG, 50))
    beton = Beton(str(tmp_path / "x.beton"))
    for reader in (beton, pickle.loads(pickle.dumps(beton))):
        assert reader.labels.tolist() == KEPT
        assert reader.heights.tolist() == [50] * 5
        assert [reader.data(i).tobytes() for i in range(len(reader))] == kept


def test_other_files_are_refused(tmp_path):
    (tmp_path / "y.beton").write_bytes(bytes(100))
    with pytest.raises(ValueError, match="is not an FFCV file of version 2"):
        Beton(str(tmp_path / "y.beton"))


@pytest.mark.parametrize("done", range(len(LABELS) + 1))
def test_writer_resumes_after_the_last_complete_record(tmp_path, done):
    records, data = samples(RAW, 600)
    write(tmp_path / "whole.beton", records, data)
    path = tmp_path / "x.beton"
    writer = BetonWriter(str(path), len(records), MIN_PAGE)
    writer.append(records[:done].copy(), data[:done])
    writer.close()
    for name in (path, journal(str(path))):  # killed while writing the next sample
        with open(name, "ab") as file:
            file.write(b"\xff" * 40)
    writer = BetonWriter(str(path), len(records), MIN_PAGE)
    assert writer.done == done
    writer.append(records[done:].copy(), data[done:])
    writer.finish()
    assert path.read_bytes() == (tmp_path / "whole.beton").read_bytes()
    # Killed after the last byte, before the caller deleted the journal
    writer = BetonWriter(str(path), len(records), MIN_PAGE)
    assert writer.done == len(records)
    writer.finish()
    assert path.read_bytes() == (tmp_path / "whole.beton").read_bytes()


def test_records_without_their_data_are_dropped(tmp_path):
    records, data = samples(RAW, 600)
    write(tmp_path / "x.beton", records, data)
    shutil.copy(tmp_path / "x.beton", tmp_path / "whole.beton")
    third = Reader(str(tmp_path / "whole.beton")).alloc_table["ptr"][2]
    with open(tmp_path / "x.beton", "r+b") as file:
        file.truncate(int(third) + 5)
    writer = BetonWriter(str(tmp_path / "x.beton"), len(records), MIN_PAGE)
    assert writer.done == 3  # two images, and one that was skipped
    writer.append(records[3:].copy(), data[3:])
    writer.finish()
    assert (tmp_path / "x.beton").read_bytes() == (tmp_path / "whole.beton").read_bytes()


def test_page_size_is_a_power_of_two_that_holds_the_largest_sample():
    assert page_size(10) == MIN_PAGE
    assert page_size(MIN_PAGE) == MIN_PAGE
    assert page_size(MIN_PAGE + 1) == 2 * MIN_PAGE
