import io
import pickle
import shutil

import numpy as np
import pytest
from conftest import photo
from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.reader import Reader
from PIL import Image

from clr.data.beton import JPG, MIN_PAGE, RAW, RECORD, Beton, BetonWriter, journal, page_size

RNG = np.random.default_rng(0)
LABELS = [3, -1, 0, 2**31 - 1, -1, 1, 5]  # -1: skipped
ALIVE = []  # numba complains when what it compiled is collected
KEPT = [label for label in LABELS if label >= 0]


def samples(mode: int, side: int) -> tuple[np.ndarray, list[bytes]]:
    records, data = np.zeros(len(LABELS), RECORD), []
    for record, label in zip(records, LABELS, strict=True):
        image, file = photo(RNG, side, side), io.BytesIO()
        image.save(file, "JPEG")
        record["mode"], record["width"], record["height"], record["label"] = mode, side, side, label
        data.append(b"" if label < 0 else image.tobytes() if mode == RAW else file.getvalue())
    return records, data


def write(path, records, data):
    writer = BetonWriter(str(path), len(records), MIN_PAGE)
    writer.append(records.copy(), data)
    writer.finish()
    return [content for content in data if content]


@pytest.mark.parametrize("os_cache", [True, False])
@pytest.mark.parametrize("mode", [RAW, JPG])
def test_ffcv_reads_the_very_samples(tmp_path, mode, os_cache):
    path = tmp_path / "x.beton"
    records, data = samples(mode, 600)  # raw, a page holds one image and the next begins elsewhere
    kept = write(path, records, data)
    reader = Reader(str(path))
    assert (reader.num_samples, reader.page_size, reader.field_names) == (
        5,
        MIN_PAGE,
        ["image", "label"],
    )
    assert reader.alloc_table["size"].tolist() == [len(content) for content in kept]
    first, last = (
        reader.alloc_table["ptr"],
        reader.alloc_table["ptr"] + reader.alloc_table["size"] - 1,
    )
    assert (first // MIN_PAGE == last // MIN_PAGE).all()
    pipelines = {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
    loader = Loader(
        str(path),
        batch_size=2,
        num_workers=1,
        os_cache=os_cache,
        order=OrderOption.SEQUENTIAL,
        seed=0,
        drop_last=False,
        pipelines=pipelines,
    )
    ALIVE.append(loader)
    read = [(images.copy(), labels.copy()) for images, labels in loader]
    assert np.concatenate([labels for _, labels in read]).ravel().tolist() == KEPT
    for image, content in zip(np.concatenate([images for images, _ in read]), kept, strict=True):
        if mode == RAW:
            assert image.tobytes() == content
        else:  # FFCV decodes with a faster, less accurate transform
            assert abs(image.astype(int) - np.array(Image.open(io.BytesIO(content)))).max() <= 6


def test_reader_here_finds_the_same_and_can_be_pickled(tmp_path):
    kept = write(tmp_path / "x.beton", *samples(JPG, 50))
    for beton in (
        Beton(str(tmp_path / "x.beton")),
        pickle.loads(pickle.dumps(Beton(str(tmp_path / "x.beton")))),
    ):
        assert beton.labels.tolist() == KEPT and beton.heights.tolist() == [50] * 5
        assert [beton.data(i).tobytes() for i in range(len(beton))] == kept
    (tmp_path / "y.beton").write_bytes(bytes(100))
    with pytest.raises(ValueError, match="no FFCV file"):
        Beton(str(tmp_path / "y.beton"))


@pytest.mark.parametrize("done", range(len(LABELS) + 1))
def test_writer_goes_on_after_the_last_complete_record(tmp_path, done):
    records, data = samples(RAW, 600)
    write(tmp_path / "whole.beton", records, data)
    path = tmp_path / "x.beton"
    writer = BetonWriter(str(path), len(records), MIN_PAGE)
    writer.append(records[:done].copy(), data[:done])
    writer.close()
    for name in (path, journal(str(path))):  # killed in the midst of the next sample
        with open(name, "ab") as file:
            file.write(b"\xff" * 40)
    writer = BetonWriter(str(path), len(records), MIN_PAGE)
    assert writer.done == done
    writer.append(records[done:].copy(), data[done:])
    writer.finish()
    assert path.read_bytes() == (tmp_path / "whole.beton").read_bytes()
    # Killed after the last byte was written, but before anybody took note
    writer = BetonWriter(str(path), len(records), MIN_PAGE)
    assert writer.done == len(records)
    writer.finish()
    assert path.read_bytes() == (tmp_path / "whole.beton").read_bytes()


def test_records_whose_data_are_lost_do_not_count(tmp_path):
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


def test_page_size():
    assert (
        page_size(10) == page_size(MIN_PAGE) == MIN_PAGE and page_size(MIN_PAGE + 1) == 2 * MIN_PAGE
    )
