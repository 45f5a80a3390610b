"""FFCV's file format (its version 2) read and written with numpy alone, and a writer that can be killed and go on.

A file is: a header; a descriptor for each of the two fields, image and label; the metadata, a row a sample (mode,
width, height, place of the data; label); from the next page on, the samples' data, none of which lies across the end of
a page; the allocation table (sample, place, size) to the end of the file. All of it is little-endian.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

VERSION = 2
JPG, RAW = 0, 1  # modes of an image
MIN_PAGE = 1 << 21  # FFCV's own least

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
FIELD = np.dtype([("type_id", "<u1"), ("name", "<u1", 16), ("arguments", "<u1", 1024)])
FIELDS = ((2, b"image"), (1, b"label"))  # FFCV's numbers for RGBImageField and IntField
IMAGE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
METADATA = np.dtype([("f0", IMAGE), ("f1", "<i8")], align=True)
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])

# What the journal of a file in the making holds of each sample.
RECORD = np.dtype(
    [
        ("ptr", "<u8"),
        ("size", "<u8"),  # bytes; 0 if skipped
        ("width", "<u2"),
        ("height", "<u2"),
        ("mode", "<u1"),
        ("origin", "<u1"),  # the writer's caller's: what the image was converted from
        ("label", "<i4"),  # -1: skipped
        ("sums", "<i8", 3),  # of each channel over the pixels
        ("squares", "<i8", 3),
    ]
)


def page_size(largest: int) -> int:
    """The size of pages that hold samples of up to `largest` bytes: a power of two, as FFCV requires."""
    return max(MIN_PAGE, 1 << (largest - 1).bit_length())


def _up(place: int, page: int) -> int:
    return -(-place // page) * page


class Beton:
    """A file's samples, read through a memory map. Cheap to pickle: the other process opens the file itself."""

    def __init__(self, path: str) -> None:
        self.path = path
        header = np.fromfile(path, HEADER, 1)[0]
        if header["version"] != VERSION or header["num_fields"] != len(FIELDS):
            raise ValueError(
                f"{path} is no FFCV file of version {VERSION} with {len(FIELDS)} fields"
            )
        start, n = HEADER.itemsize + len(FIELDS) * FIELD.itemsize, int(header["num_samples"])
        metadata = np.fromfile(path, METADATA, n, offset=start)
        allocations = np.fromfile(path, ALLOCATION, offset=int(header["alloc_table_ptr"]))
        self.metadata = metadata
        self.labels: np.ndarray = metadata["f1"].astype(np.int64)
        self.heights: np.ndarray = metadata["f0"]["height"].astype(np.int64)
        self.widths: np.ndarray = metadata["f0"]["width"].astype(np.int64)
        self._starts: np.ndarray = metadata["f0"]["data_ptr"].astype(np.int64)
        order = np.argsort(allocations["ptr"])
        found = order[np.searchsorted(allocations["ptr"], metadata["f0"]["data_ptr"], sorter=order)]
        self.sizes: np.ndarray = allocations["size"][found].astype(np.int64)
        self._map = np.memmap(path, np.uint8, "r")

    def __reduce__(self) -> tuple[type[Beton], tuple[str]]:
        return Beton, (self.path,)

    def __len__(self) -> int:
        return len(self.labels)

    def data(self, i: int) -> memoryview:
        """Sample i's bytes, without a copy."""
        start = self._starts[i]
        return self._map[start : start + self.sizes[i]].data


class BetonWriter:
    """Appends samples to the file at `path`, with a journal beside it; a writer on the same path later goes on there.

    A sample's data are written before its record, so that a record vouches for data. `n`: the most samples that may
    come, skipped ones included; each takes a place in the metadata, so that the data's places depend on `n` alone.
    """

    def __init__(self, path: str, n: int, page_size: int) -> None:
        self.page_size = page_size
        self._start = _up(
            HEADER.itemsize + len(FIELDS) * FIELD.itemsize + n * METADATA.itemsize, page_size
        )
        self._file, self._journal = (
            os.fdopen(os.open(p, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            for p in (path, journal(path))
        )
        content = self._journal.read()
        records = np.frombuffer(content, RECORD, len(content) // RECORD.itemsize)
        # After a loss of power the data may be shorter than the journal tells.
        whole = np.logical_and.accumulate(
            records["ptr"] + records["size"] <= os.fstat(self._file.fileno()).st_size
        )
        self._records = [records[whole]]
        kept = records[whole & (records["label"] >= 0)]
        self._end = int(kept[-1]["ptr"] + kept[-1]["size"]) if len(kept) else self._start
        self._journal.truncate(self.done * RECORD.itemsize)
        self._journal.seek(0, os.SEEK_END)
        self._file.truncate(self._end)

    @property
    def done(self) -> int:
        """How many samples have been appended, skipped ones included."""
        return sum(map(len, self._records))

    @property
    def records(self) -> np.ndarray:
        """Of all samples so far, RECORD of shape (done,)."""
        return np.concatenate(self._records)

    def append(self, records: np.ndarray, data: Sequence[bytes]) -> None:
        """The next samples: RECORD (n,), of which `ptr` and `size` are set here, and the bytes, empty if skipped."""
        for record, content in zip(records, data, strict=True):
            record["size"] = len(content)
            if len(content) > self.page_size:
                raise ValueError(f"{len(content)} bytes do not fit into a page of {self.page_size}")
            if content:
                if self._end % self.page_size + len(content) > self.page_size:
                    self._end = _up(self._end, self.page_size)  # what is left out reads as zeros
                record["ptr"] = self._end
                self._file.seek(self._end)
                self._file.write(content)
                self._end += len(content)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._journal.write(records.tobytes())
        self._journal.flush()
        self._records.append(records)

    def finish(self) -> None:
        """Writes all but the data, and closes. The journal stays, for its owner to delete with the rest in place."""
        records = self.records
        records = records[records["label"] >= 0]
        metadata, allocations = np.zeros(len(records), METADATA), np.zeros(len(records), ALLOCATION)
        for name in ("mode", "width", "height"):
            metadata["f0"][name] = records[name]
        metadata["f0"]["data_ptr"] = allocations["ptr"] = records["ptr"]
        metadata["f1"] = records["label"]
        allocations["sample_id"], allocations["size"] = np.arange(len(records)), records["size"]
        fields = np.zeros(len(FIELDS), FIELD)
        for field, (number, title) in zip(fields, FIELDS, strict=True):
            field["type_id"] = number
            field["name"][: len(title)] = np.frombuffer(title, np.uint8)
        end = _up(self._end, self.page_size)  # FFCV's process cache reads whole pages
        header = np.array((VERSION, len(FIELDS), self.page_size, len(records), end), HEADER)
        self._file.seek(0)
        self._file.write(header.tobytes() + fields.tobytes() + metadata.tobytes())
        self._file.truncate(end)
        self._file.seek(end)
        self._file.write(allocations.tobytes())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()

    def close(self) -> None:
        self._file.close()
        self._journal.close()


def journal(path: str) -> str:
    """The journal of the file `path` in the making."""
    return f"{path}.journal"
