"""Look up a converted dataset in `data_dir`, or convert it there once, under a lock."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, replace

from clr.config import DatasetConfig
from clr.data.convert import convert
from clr.data.info import DatasetInfo, read_manifest, verify_betons
from clr.data.loaders import check_loader
from clr.data.locks import locked
from clr.data.sources import Source, open_source
from clr.errors import UserError

# Increase when the converted files or the manifest change: older ones are then converted again.
FORMAT = 3

# Of this process, by the config of the dataset.
_prepared: dict[str, DatasetInfo] = {}
_class_counts: dict[str, int] = {}
_listed: dict[str, Source] = {}  # sources that were opened to count their classes


def prepare(dataset: DatasetConfig, data_dir: str, loader: str) -> DatasetInfo:
    """Convert the dataset into `data_dir`/<name>-<key> unless it is there already, and verify it.

    Originals that can be downloaded are downloaded first if they are missing. All loaders read
    the same files; `loader` (`clr.data.open_loader`) is only checked before the work starts. Any
    number of processes may prepare the same dataset at the same time.

    Raises:
        UserError: the originals, the converted files or the configuration are unusable; the message
            says how to fix it.
    """
    check_loader(loader)
    return _prepare(open_source(dataset), data_dir)


def _prepare(source: Source, data_dir: str) -> DatasetInfo:
    if not source.is_available():
        source.fetch()
    folder = _folder(source, data_dir)
    info = _find(source, folder)
    if info is None:
        info = _convert(source, folder)
        if info.skipped:
            listing = os.path.join(folder, "skipped.txt")
            print(
                f"{info.label}: {info.skipped} originals cannot be read and are left out, "
                f"see {listing}",
                file=sys.stderr,
            )
    return info


def find_prepared(dataset: DatasetConfig, data_dir: str, loader: str) -> DatasetInfo | None:
    """The converted dataset, or None if `prepare` would have to download or convert it.

    Reads only: nothing is downloaded, converted or written. Raises UserError as `prepare` does.
    """
    check_loader(loader)
    source = open_source(dataset)
    if not source.is_available():
        return None
    return _find(source, _folder(source, data_dir))


def prepare_once(dataset: DatasetConfig, data_dir: str, loader: str) -> DatasetInfo:
    """Call `prepare` on the first call with these arguments; later calls of this process reuse it.

    Listing the originals of a large dataset takes long on a network file system, so a process that
    trains several runs should do it once. Changes of the originals between two calls are not
    noticed.
    """
    key = json.dumps([asdict(dataset), data_dir, loader], sort_keys=True)
    if key not in _prepared:
        check_loader(loader)
        source = _listed.pop(_key(dataset), None) or open_source(dataset)
        _prepared[key] = _prepare(source, data_dir)
    return _prepared[key]


def count_classes(dataset: DatasetConfig) -> int:
    """The number of classes of a dataset, by the names of its files.

    Nothing is downloaded, converted or written. The first call in this process lists the originals,
    and the next call of `prepare_once` uses that list.

    Raises:
        UserError: the configuration is impossible, or the originals are not laid out as required.
    """
    key = _key(dataset)
    if key not in _class_counts:
        _listed[key] = open_source(dataset)
        _class_counts[key] = _listed[key].num_classes
    return _class_counts[key]


def _key(dataset: DatasetConfig) -> str:
    return json.dumps(asdict(dataset), sort_keys=True)


def _folder(source: Source, data_dir: str) -> str:
    identity = json.dumps([FORMAT, *source.identity()])
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return os.path.join(data_dir, f"{source.dataset.name}-{key}")


def _find(source: Source, folder: str) -> DatasetInfo | None:
    manifest = read_manifest(folder, source.dataset)
    if manifest is None:
        return None
    info, betons = manifest
    verify_betons(info, betons)
    return replace(info, label=source.label)  # the title is not part of what was converted


def _convert(source: Source, folder: str) -> DatasetInfo:
    data_dir, name = os.path.split(folder)
    hidden = os.path.join(data_dir, f".{name}")
    try:
        os.makedirs(data_dir or ".", exist_ok=True)
        with locked(f"{hidden}.lock", f"{source.label}: another process is converting it; waiting"):
            info = _find(source, folder)
            if info is None:
                convert(source, folder, f"{hidden}.partial")
                info = _find(source, folder)
    except OSError as error:
        raise UserError(
            f"cannot write {folder} ({error}); set data_dir to a writable folder with enough space"
        ) from error
    assert info is not None
    return info
