"""Two stores of runs become one: what was made on two machines meets in one folder of results."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from clr.errors import UserError
from clr.runs.store import Store

TABLES = ("steps.parquet", "epochs.parquet", "corridor_meter.parquet")


def merge(source: Store, target: Store) -> list[str]:
    """Copy the finished runs of `source` that `target` lacks; returns their names.

    UserError, and nothing is copied, if a run that is finished in both has other records in one than in the other (how
    long its steps took is no matter), or if `source` is none. Busy for a run that is being made in `target`.
    """
    runs = [done["run_id"] for done in source.all_finished()]
    if not runs:
        raise UserError(f"there are no finished runs in {source.root}")
    both = [name for name in runs if target.finished(name) is not None]
    if conflicts := [
        f"{name} ({why})"
        for name in both
        if (why := _difference(source.folder(name), target.folder(name)))
    ]:
        raise UserError(
            f"{len(conflicts)} runs have other records in {source.root} than in {target.root}; delete one of the two "
            f"of each: {', '.join(conflicts)}"
        )
    copied = [name for name in runs if name not in both]
    for name in copied:
        with target.claim(name):
            _copy(source.folder(name), target.folder(name))
    return copied


def _difference(one: Path, other: Path) -> str | None:
    """The first table that both runs have and that differs, beyond the time that it took."""
    for table in TABLES:
        if (one / table).exists() and (other / table).exists():
            here, there = (
                pd.read_parquet(folder / table).drop(columns="seconds", errors="ignore")
                for folder in (one, other)
            )
            shared = [column for column in here.columns if column in there.columns]
            if not here[shared].equals(there[shared]):
                return f"{table} differs"
    return None


def _copy(source: Path, target: Path) -> None:
    """All of the run; run.json last, for it says that the run is finished."""
    skipped = shutil.ignore_patterns("lock", "checkpoints", "run.json", "*.part")
    shutil.copytree(source, target, ignore=skipped, dirs_exist_ok=True)
    shutil.copy2(source / "run.json", target / "run.json.part")
    (target / "run.json.part").rename(target / "run.json")
