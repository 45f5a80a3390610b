"""Many runs by many processes: who makes which, what becomes of failures, and when all are over."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from filelock import SoftFileLease
from rich.console import Console

from clr.config import TrainConfig
from clr.data import DatasetInfo
from clr.errors import Busy, Stopped, UserError
from clr.runs.store import Store
from clr.sweeps.dashboard import Overview
from clr.sweeps.job import Failure, take_failure
from clr.training.signals import StopSignal

LOOK_SECONDS = 0.2  # between two looks at the processes


@dataclass
class Planned:
    """A run that is wanted, by one or more figures or by a multirun."""

    cfg: TrainConfig
    info: DatasetInfo
    figures: set[str] = field(default_factory=set)
    if_best: int | None = (
        None  # diagnostics.every, if its fixed rate turns out to be the best of its sweep
    )


class Backend(Protocol):
    """What makes runs: warm workers or a cluster. A run is named; its config lies in the store."""

    def free_slots(self) -> int:
        """How many more runs it takes now."""

    def start(self, names: list[str]) -> None: ...

    def recover(self, names: Iterable[str]) -> set[str]:
        """Which of the runs it has already, from an earlier sweep; `ended` tells of them as of its own."""

    def poll_finished(self) -> list[tuple[str, Failure | None]]:
        """The runs whose process is over since the last call, whatever became of them, and what it knows of that."""

    def close(self) -> None:
        """Called once, at the end or when the sweep is told to stop."""


class Launch:
    """Makes every run that is not finished, once, whoever else works on the same store.

    A run that another process makes is waited for, and made if that one leaves it. A run that failed is tried again
    `retries` times, and as often as it came further than the time before: a node that dies now and then is no reason to
    give up. A mistake of the user's is not tried again. No failure stops the other runs.
    """

    def __init__(
        self,
        planned: dict[str, Planned],
        store: Store,
        backend: Backend,
        retries: int,
        console: Console,
    ) -> None:
        self._planned, self._store, self._backend, self._retries = planned, store, backend, retries
        self._console = console
        self.states: dict[
            str, str
        ] = {}  # waiting | queued | elsewhere | finished | diverged | failed
        self.failures: dict[str, Failure] = {}
        self._tries: Counter[str] = Counter()
        self._came_to: dict[str, int] = {}
        self._leases: dict[str, SoftFileLease] = {}

    def run(self) -> dict[str, Failure]:
        """Returns the runs that failed. Raises Stopped when a signal asks for that, after all processes have left."""
        for name in self._planned:
            done = self._done(name)
            self.states[name] = "waiting" if done is None else done["status"]
        with ExitStack() as stack:
            stop = stack.enter_context(StopSignal())
            stack.callback(self._backend.close)
            overview = stack.enter_context(
                Overview(self._planned, self._store, self.states, self._console)
            )
            for name in self._backend.recover(self._of("waiting")):
                self.states[name] = "queued"
            while open_runs := self._of("waiting", "queued", "elsewhere"):
                if stop.received is not None:
                    raise Stopped(
                        f"{len(open_runs)} of {len(self._planned)} runs are left", stop.received
                    )
                self._start()
                for name, told in self._backend.poll_finished():
                    self._end(name, told)
                overview.update(self.failures)
                time.sleep(LOOK_SECONDS)
        return self.failures

    def _of(self, *states: str) -> list[str]:
        return [name for name, state in self.states.items() if state in states]

    def _start(self) -> None:
        """Give the backend what is free and it has room for."""
        chosen: list[str] = []
        room = self._backend.free_slots()
        for name in self._of("waiting", "elsewhere"):
            if len(chosen) == room:
                break
            if self._begin(name):
                chosen.append(name)
                self.states[name] = "queued"
        if chosen:
            self._backend.start(chosen)

    def _begin(self, name: str) -> bool:
        """Whether a process is to make the run, whose config is then in its folder; what else it is, is noted.

        Asked again and again of a run that another process makes, this notices when that one is dead.
        """
        run = self._planned[name]
        try:
            with self._store.claim(
                name, lease=self._leases.setdefault(name, self._store.lease(name))
            ):
                if (done := self._done(name)) is not None:
                    self._finish(name, done)
                    return False
                self._store.begin(name, run.cfg, run.info.fingerprint)
        except Busy:
            self.states[name] = "elsewhere"
            return False
        except UserError as error:
            self._fail(name, Failure(str(error), final=True))
            return False
        return True

    def _done(self, name: str) -> dict[str, Any] | None:
        return self._store.completed(name, self._planned[name].cfg)

    def _end(self, name: str, told: Failure | None) -> None:
        """A process that was to make the run is over."""
        done = self._done(name)
        failure = take_failure(self._store, name) or told
        if done is not None:
            self._finish(name, done)
        elif failure is None and self._store.busy(name):
            self.states[name] = "elsewhere"
        else:
            self._fail(name, failure or Failure("its process is gone without a word", final=False))

    def _finish(self, name: str, done: dict[str, Any]) -> None:
        self.states[name] = done["status"]
        s = done["summary"]
        self._tell(
            f"{name}: {done['status']}, loss {s['final_train_loss']:.4g}, accuracy {s['final_test_accuracy']:.1%}, "
            f"{s['seconds']:.0f} s"
        )

    def _fail(self, name: str, failure: Failure) -> None:
        """Try the run again, or give it up."""
        came_to = self.progress(name)
        if came_to > self._came_to.get(name, -1):
            self._tries[name] = 0
        self._came_to[name] = came_to
        self._tries[name] += 1
        if failure.final or self._tries[name] > self._retries:
            self.states[name] = "failed"
            self.failures[name] = failure
            self._tell(f"{name}: failed: {failure.message}")
        else:
            self.states[name] = "waiting"
            self._tell(f"{name}: {failure.message}; it is tried again")

    def progress(self, name: str) -> int:
        """The last step that the run has reported, 0 before that."""
        try:
            return int(json.loads((self._store.folder(name) / "progress.json").read_text())["step"])
        except (OSError, ValueError, KeyError):
            return 0

    def _tell(self, line: str) -> None:
        left = len(self._of("waiting", "queued", "elsewhere"))
        self._console.print(
            f"[{len(self._planned) - left}/{len(self._planned)}] {line}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
