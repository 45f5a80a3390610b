"""Copies of completed runs into a store: from another store, and from a results folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from clr.config import from_dict
from clr.errors import UserError
from clr.files import move_folder, write_bytes, write_parquet
from clr.runs.store import Store
from clr.runs.tables import read_recorded, read_records

_NOT_COPIED = ("lock", "checkpoints", "run.json")  # run.json is copied last
TABLES = ("steps.parquet", "epochs.parquet", "corridor_meter.parquet")


def merge(source: Store, target: Store) -> list[str]:
    """Copy the completed runs of `source` that `target` lacks; returns their run ids.

    Raises:
        UserError: if `source` has no completed runs, or if a run that both stores have differs in
            its records, apart from times. Nothing is copied in these cases.
        Busy: if another process is training one of the runs in `target`.
    """
    if not os.path.isdir(source.root):  # False also for a loop of links and a name that is too long
        problem = "is not a folder" if os.path.lexists(source.root) else "does not exist"
        raise UserError(f"{source.root} {problem}; give the folder of a store")
    runs = [record["run_id"] for record in source.all_finished()]
    if not runs:
        raise UserError(f"there are no completed runs in {source.root}; give the folder of a store")
    shared = [name for name in runs if target.finished(name) is not None]
    differences = {name: _difference(source.folder(name), target.folder(name)) for name in shared}
    conflicts = [f"{name} ({table} differs)" for name, table in differences.items() if table]
    if conflicts:
        raise UserError(
            f"{len(conflicts)} runs have other records in {source.root} than in {target.root}; "
            f"delete one of the two of each: {', '.join(conflicts)}"
        )
    copied = [name for name in runs if name not in differences]
    with _scratch_folder(target.root) as scratch:
        for name in copied:
            _add(source.folder(name), Path(scratch) / name, name, target)
    return copied


def import_runs(folder: Path, store: Store) -> int:
    """Copy the runs of a results folder that `store` lacks into it; returns their number.

    Raises:
        Busy: if another process is training one of them.
    """
    records, tables = read_records(folder), read_recorded(folder)
    missing = [run for run in records if store.finished(run["run_id"]) is None]
    for run in missing:
        run_id, cfg = run["run_id"], from_dict(run["config"])
        with store.claim(run_id, patience=None):
            run_folder = store.begin(run_id, cfg, run["data"]["fingerprint"])
            for name, table in tables.items():
                rows = table[table["run_id"] == run_id].drop(columns="run_id")
                if name != "corridor_meter" or len(rows):
                    write_parquet(rows.reset_index(drop=True), run_folder / f"{name}.parquet")
            store.finish(run_id, run)
    return len(missing)


def _difference(first: Path, second: Path) -> str | None:
    """The first table that both runs have with different records; times are not compared."""
    for table in TABLES:
        paths = [first / table, second / table]
        if not all(path.exists() for path in paths):
            continue
        left, right = (
            pd.read_parquet(path).drop(columns="seconds", errors="ignore") for path in paths
        )
        shared = [column for column in left.columns if column in right.columns]
        if not left[shared].equals(right[shared]):
            return table
    return None


def _scratch_folder(root: Path) -> TemporaryDirectory[str]:
    """A folder in the store `root` that is deleted when its context ends."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        return TemporaryDirectory(dir=root, prefix=".merge-")
    except OSError as error:
        raise UserError(f"cannot write {root}: {error.strerror}; choose another store") from None


def _add(source: Path, scratch: Path, name: str, target: Store) -> None:
    """Copy a run to `scratch` and move it into the store as a whole, which needs no lock.

    If the store has a folder of the run already, the run is copied there under its lock.
    """
    _copy(source, scratch)
    if not move_folder(scratch, target.folder(name)):
        with target.claim(name, patience=None):
            _copy(source, target.folder(name))


def _copy(source: Path, target: Path) -> None:
    """Copy a run; run.json comes last because it marks the run as completed."""
    target.mkdir(exist_ok=True)
    for entry in os.scandir(source):
        copy = os.path.join(target, entry.name)
        if entry.name in _NOT_COPIED or entry.name.endswith(".part"):
            continue
        if entry.is_dir():
            shutil.copytree(entry, copy, dirs_exist_ok=True)
        else:
            shutil.copyfile(entry, copy)
    write_bytes((source / "run.json").read_bytes(), target / "run.json")
