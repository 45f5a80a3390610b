"""Training of one run in a process of a sweep: a warm worker or a task of a cluster job."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clr.data import prepare_once
from clr.errors import Busy, Stopped, UserError, first_line
from clr.runs.store import Store
from clr.sweeps.failure import Failure, report_failure
from clr.training.distributed import Ranks, join
from clr.training.trainer import train_unless_completed


def train_run(store: str, name: str, patience: float) -> None:
    """Train the run `name` with all ranks of this job, by the config in its folder of `store`.

    Everything printed meanwhile goes to the run's log.txt (log.1.txt of rank 1, and so on). An
    error is written there and to failure.json, where the sweep finds it.

    Args:
        store: folder of the store.
        name: id of the run.
        patience: seconds to wait for the run's lock.

    Raises:
        Stopped: a signal asked for the stop, and a checkpoint is written.
        Busy: another process holds the lock.
        Exception: the error that ended the training, which is already in the log.
    """
    folder = Store(store).folder(name)
    with join() as ranks:
        log = folder / ("log.txt" if ranks.is_main else f"log.{ranks.rank}.txt")
        with _output_to(log):
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            print(f"{now} process {os.getpid()} on {os.uname().nodename}", flush=True)
            try:
                _train(store, name, ranks, patience)
            except (Stopped, Busy) as error:
                print(error, flush=True)
                raise
            except Exception as error:
                is_mistake = isinstance(error, UserError)
                text = str(error) if is_mistake else "".join(traceback.format_exception(error))
                print(text, file=sys.stderr, flush=True)
                if ranks.is_main:
                    report_failure(Failure(first_line(error), final=is_mistake), folder)
                raise


def _train(store: str, name: str, ranks: Ranks, patience: float) -> None:
    cfg = Store(store).stored_config(name)
    info = prepare_once(cfg.dataset, cfg.data_dir, cfg.loader)
    result, was_trained = train_unless_completed(cfg, info, ranks, patience)
    steps = f"{result['status']}: {result['summary']['steps']} steps"
    print(steps if was_trained else "another process has completed it", flush=True)


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Append to the file what this process prints, including output of libraries in C."""
    sys.stdout.flush()
    sys.stderr.flush()
    originals = os.dup(1), os.dup(2)
    with open(path, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in enumerate(originals, start=1):
            os.dup2(original, descriptor)
            os.close(original)
