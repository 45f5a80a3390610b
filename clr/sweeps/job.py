"""One run of a sweep in a process that the sweep started: a warm worker, or a task of a cluster's job."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clr.config import TrainConfig
from clr.data import DatasetInfo, prepare
from clr.errors import Busy, Stopped, UserError
from clr.files import write_text
from clr.runs.store import Store
from clr.training.distributed import join
from clr.training.trainer import train


@dataclass(frozen=True)
class Failure:
    """Why a job ended before its run did."""

    message: str
    final: bool  # another try would fail in the same way


def make_run(root: str, name: str, patience: float) -> None:
    """Make the run `name` of the store `root` from the config that is stored there, with all ranks of this job.

    What is printed meanwhile goes to the run's log.txt, rank 1's to log.1.txt. An error goes there too and, for the
    sweep, to failure.json; Stopped and Busy, which are none, are raised.
    """
    folder = Store(root).folder(name)
    with (
        join() as ranks,
        _printing_to(folder / ("log.txt" if ranks.is_main else f"log.{ranks.rank}.txt")),
    ):
        print(
            f"{time.strftime('%Y-%m-%d %H:%M:%S')} process {os.getpid()} on {os.uname().nodename}",
            flush=True,
        )
        try:
            cfg = Store(root).stored_config(name)
            done = train(cfg, _prepared(cfg), ranks, patience)
            print(f"{done['status']}: {done['summary']['steps']} steps", flush=True)
        except (Stopped, Busy) as error:
            print(error, flush=True)
            raise
        except Exception as error:
            mistake = isinstance(error, UserError)
            told = str(error) if mistake else "".join(traceback.format_exception(error))
            print(told, file=sys.stderr, flush=True)
            if ranks.is_main:
                content = {
                    "message": str(error).splitlines()[0] if str(error) else repr(error),
                    "final": mistake,
                }
                write_text(json.dumps(content), folder / "failure.json")
            raise


def take_failure(store: Store, name: str) -> Failure | None:
    """What the last job of the run left; told once, so that a later job's end is not taken for this one's."""
    path = store.folder(name) / "failure.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    path.unlink()
    return Failure(found["message"], found["final"])


_data: dict[str, DatasetInfo] = {}


def _prepared(cfg: TrainConfig) -> DatasetInfo:
    """The data, looked up once in a process that makes many runs."""
    key = str((cfg.dataset, cfg.data_dir, cfg.loader))
    if key not in _data:
        _data[key] = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
    return _data[key]


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """What this process and its libraries print is added to the file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(path, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in enumerate(kept, start=1):
            os.dup2(old, number)
            os.close(old)
