"""Reader and resumable writer of FFCV's file format (version 2), in NumPy alone.

A file consists of, all little-endian:

1. a header;
2. a descriptor of each field: image and label;
3. the metadata, one row per sample: mode, width, height and address of the image; label;
4. from the next page on, the data of the samples; no sample crosses the end of a page;
5. the allocation table, one row per sample: number, address, size.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np

VERSION = 2
JPG, RAW = 0, 1  # values of `mode`
MIN_PAGE = 1 << 21  # bytes; FFCV's own minimum

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
FIELDS = ((2, b"image"), (1, b"label"))  # FFCV's numbers of RGBImageField and IntField
IMAGE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
METADATA = np.dtype([("f0", IMAGE), ("f1", "<i8")], align=True)
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
METADATA_START = HEADER.itemsize + len(FIELDS) * FIELD.itemsize

# One row of the writer's journal: everything about a sample except its data.
RECORD = np.dtype(
    [
        ("ptr", "<u8"),
        ("size", "<u8"),  # bytes; 0 if skipped
        ("width", "<u2"),
        ("height", "<u2"),
        ("mode", "<u1"),
        ("origin", "<u1"),  # pixel format of the original, as numbered by the caller
        ("label", "<i4"),  # -1: skipped
        ("sums", "<i8", 3),  # of each channel over the pixels
        ("squares", "<i8", 3),
    ]
)


def page_size(largest: int) -> int:
    """Page size for samples of up to `largest` bytes: a power of two, as FFCV requires."""
    return max(MIN_PAGE, 1 << (largest - 1).bit_length())


def journal(path: str) -> str:
    """Path of the journal that belongs to the unfinished file `path`."""
    return f"{path}.journal"


class Beton:
    """Samples of a finished file, read through a memory map.

    Pickles as its path alone; the other process opens the file itself. ValueError if the file does
    not have this format.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        header = np.fromfile(path, HEADER, 1)[0]
        if header["version"] != VERSION or header["num_fields"] != len(FIELDS):
            raise ValueError(
                f"{path} is not an FFCV file of version {VERSION} with {len(FIELDS)} fields"
            )
        metadata = np.fromfile(path, METADATA, int(header["num_samples"]), offset=METADATA_START)
        allocations = np.fromfile(path, ALLOCATION, offset=int(header["alloc_table_ptr"]))
        self.metadata = metadata
        self.labels: np.ndarray = metadata["f1"].astype(np.int64)
        self.heights: np.ndarray = metadata["f0"]["height"].astype(np.int64)
        self.widths: np.ndarray = metadata["f0"]["width"].astype(np.int64)
        self._starts: np.ndarray = metadata["f0"]["data_ptr"].astype(np.int64)
        order = np.argsort(allocations["ptr"])
        rows = order[np.searchsorted(allocations["ptr"], metadata["f0"]["data_ptr"], sorter=order)]
        self.sizes: np.ndarray = allocations["size"][rows].astype(np.int64)
        self._map = np.memmap(path, np.uint8, "r")

    def __reduce__(self) -> tuple[type[Beton], tuple[str]]:
        return Beton, (self.path,)

    def __len__(self) -> int:
        return len(self.labels)

    def data(self, i: int) -> memoryview:
        """Bytes of sample i, without a copy."""
        start = self._starts[i]
        return self._map[start : start + self.sizes[i]].data


class BetonWriter:
    """Append samples to the file `path`; a later writer of the same path resumes where it ended.

    The journal next to the file makes it resumable: the data of a sample are flushed before its
    record is written, so a record implies that its data are complete. `capacity` is the maximum
    number of samples, skipped ones included. Each reserves a row of the metadata, so the addresses
    of the data depend on `capacity` alone.
    """

    def __init__(self, path: str, capacity: int, page_size: int) -> None:
        self.page_size = page_size
        self._start = _round_up(METADATA_START + capacity * METADATA.itemsize, page_size)
        self._file = _open_for_update(path)
        self._journal = _open_for_update(journal(path))
        content = self._journal.read()
        records = np.frombuffer(content, RECORD, len(content) // RECORD.itemsize)
        # After a power failure the data may be shorter than the journal says.
        file_size = os.fstat(self._file.fileno()).st_size
        intact = np.logical_and.accumulate(records["ptr"] + records["size"] <= file_size)
        self._records = [records[intact]]
        stored = records[intact & (records["label"] >= 0)]
        self._end = int(stored[-1]["ptr"] + stored[-1]["size"]) if len(stored) else self._start
        self._journal.truncate(self.done * RECORD.itemsize)
        self._journal.seek(0, os.SEEK_END)
        self._file.truncate(self._end)

    @property
    def done(self) -> int:
        """Number of samples appended so far, skipped ones included."""
        return sum(map(len, self._records))

    @property
    def records(self) -> np.ndarray:
        """Records of all samples so far: RECORD of shape (done,)."""
        return np.concatenate(self._records)

    def append(self, records: np.ndarray, data: Sequence[bytes]) -> None:
        """Append samples: `records`, RECORD of shape (n,), and the bytes of each, empty if skipped.

        Sets `ptr` and `size` of the records. ValueError if a sample is larger than a page.
        """
        for record, content in zip(records, data, strict=True):
            record["size"] = len(content)
            if len(content) > self.page_size:
                raise ValueError(f"{len(content)} bytes do not fit into a page of {self.page_size}")
            if content:
                if self._end % self.page_size + len(content) > self.page_size:
                    self._end = _round_up(self._end, self.page_size)  # the gap reads as zeros
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
        """Write everything but the data and close the file. The caller deletes the journal."""
        records = self.records
        records = records[records["label"] >= 0]
        table_start = _round_up(self._end, self.page_size)  # FFCV's process cache reads whole pages
        header = np.array((VERSION, len(FIELDS), self.page_size, len(records), table_start), HEADER)
        self._file.seek(0)
        self._file.write(header.tobytes())
        self._file.write(_field_descriptors().tobytes())
        self._file.write(_metadata(records).tobytes())
        self._file.truncate(table_start)
        self._file.seek(table_start)
        self._file.write(_allocation_table(records).tobytes())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()

    def close(self) -> None:
        self._file.close()
        self._journal.close()


def _open_for_update(path: str) -> io.BufferedRandom:
    """Open a file for reading and writing; create it if missing, keep its content otherwise."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")


def _field_descriptors() -> np.ndarray:
    fields = np.zeros(len(FIELDS), FIELD)
    for field, (number, title) in zip(fields, FIELDS, strict=True):
        field["type_id"] = number
        field["name"][: len(title)] = np.frombuffer(title, np.uint8)
    return fields


def _metadata(records: np.ndarray) -> np.ndarray:
    metadata = np.zeros(len(records), METADATA)
    for name in ("mode", "width", "height"):
        metadata["f0"][name] = records[name]
    metadata["f0"]["data_ptr"] = records["ptr"]
    metadata["f1"] = records["label"]
    return metadata


def _allocation_table(records: np.ndarray) -> np.ndarray:
    table = np.zeros(len(records), ALLOCATION)
    table["sample_id"] = np.arange(len(records))
    table["ptr"] = records["ptr"]
    table["size"] = records["size"]
    return table


def _round_up(address: int, page: int) -> int:
    return -(-address // page) * page
