"""Scheduler of a sweep: starts runs, retries failures and ends when no run is left."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any

from filelock import SoftFileLease
from rich.console import Console

from clr.errors import Busy, Stopped, UserError
from clr.runs.progress_file import read_progress
from clr.runs.store import Store
from clr.sweeps.backends import Backend
from clr.sweeps.dashboard import Dashboard
from clr.sweeps.failure import Failure, take_failure
from clr.sweeps.planned_run import PlannedRun, QueueState
from clr.sweeps.summary import number
from clr.training.signals import StopSignal

POLL_SECONDS = 0.2  # between two polls of the backend


class Scheduler:
    """Trains each planned run that is not completed, once, also if other processes use the store.

    - A run that another process trains is waited for, and started if that process gives it up.
    - A run that failed is retried `retries` times. The count starts again whenever the run advanced
      further than before its last failure, so that occasional crashes of a node do not end it. A
      user's mistake is not retried.
    - A failure does not stop the other runs.
    """

    def __init__(
        self,
        planned: dict[str, PlannedRun],
        store: Store,
        backend: Backend,
        retries: int,
        console: Console,
    ) -> None:
        self._planned, self._store, self._backend = planned, store, backend
        self._retries, self._console = retries, console
        self.states: dict[str, QueueState] = {}
        self.failures: dict[str, Failure] = {}
        self._attempts: Counter[str] = Counter()  # since the run last advanced
        self._last_steps: dict[str, int] = {}  # by run: the step at its last failure
        self._leases: dict[str, SoftFileLease] = {}

    def run(self) -> dict[str, Failure]:
        """Train all runs; return the failures once every other run is completed.

        Raises Stopped when a signal asks for the stop, after all worker processes have ended.
        """
        for name in self._planned:
            result = self._result(name)
            self.states[name] = (
                QueueState.WAITING if result is None else QueueState(result["status"])
            )
        with ExitStack() as stack:
            stop = stack.enter_context(StopSignal())
            stack.callback(self._backend.close)
            dashboard = stack.enter_context(
                Dashboard(self._planned, self._store, self.states, self._console)
            )
            for name in self._backend.recover(self._in_state(QueueState.WAITING)):
                self.states[name] = QueueState.QUEUED
            while open_runs := self._open_runs():
                if stop.received is not None:
                    message = f"{len(open_runs)} of {len(self._planned)} runs are left"
                    raise Stopped(message, stop.received)
                self._start_runs()
                for name, failure in self._backend.poll_finished():
                    self._end(name, failure)
                dashboard.update(self.failures)
                self._backend.wait(POLL_SECONDS)
        return self.failures

    def _in_state(self, *states: QueueState) -> list[str]:
        return [name for name, state in self.states.items() if state in states]

    def _open_runs(self) -> list[str]:
        return [name for name, state in self.states.items() if not state.is_final]

    def _start_runs(self) -> None:
        """Give the backend as many runs as it has free slots."""
        chosen: list[str] = []
        slots = self._backend.free_slots()
        for name in self._in_state(QueueState.WAITING, QueueState.ELSEWHERE):
            if len(chosen) == slots:
                break
            if self._prepare(name):
                chosen.append(name)
                self.states[name] = QueueState.QUEUED
        if chosen:
            self._backend.start(chosen)

    def _prepare(self, name: str) -> bool:
        """Write the run's config into the store; False, with the state updated, if it cannot start.

        The lease is kept between calls because it measures for how long the owner of the lock has
        not renewed it: this is how the death of an owner on another host is noticed.
        """
        run = self._planned[name]
        assert run.info is not None
        lease = self._leases.setdefault(name, self._store.lease(name))
        try:
            with self._store.claim(name, lease=lease):
                result = self._result(name)
                if result is not None:
                    self._finish(name, result)
                    return False
                self._store.begin(name, run.cfg, run.info.fingerprint)
        except Busy:
            self.states[name] = QueueState.ELSEWHERE
            return False
        except UserError as error:
            self._fail(name, Failure(str(error), final=True))
            return False
        return True

    def _result(self, name: str) -> dict[str, Any] | None:
        return self._store.completed(name, self._planned[name].cfg)

    def _end(self, name: str, backend_failure: Failure | None) -> None:
        """Update the state of a run whose process ended."""
        result = self._result(name)
        failure = take_failure(self._store.folder(name)) or backend_failure
        if result is not None:
            self._finish(name, result)
        elif failure is None and self._store.busy(name):
            self.states[name] = QueueState.ELSEWHERE
        else:
            unexplained = Failure("its process died without reporting an error", final=False)
            self._fail(name, failure or unexplained)

    def _finish(self, name: str, result: dict[str, Any]) -> None:
        self.states[name] = QueueState(result["status"])
        summary = result["summary"]
        loss = number(summary["final_train_loss"], ".4g")
        accuracy = number(summary["final_test_accuracy"], ".1%")
        seconds = number(summary["seconds"], ".0f")
        self._print(f"{name}: {result['status']}, loss {loss}, accuracy {accuracy}, {seconds} s")

    def _fail(self, name: str, failure: Failure) -> None:
        """Queue the run for a retry, or give it up."""
        step = self._last_step(name)
        if step > self._last_steps.get(name, -1):
            self._attempts[name] = 0
        self._last_steps[name] = step
        self._attempts[name] += 1
        if failure.final or self._attempts[name] > self._retries:
            self.states[name] = QueueState.FAILED
            self.failures[name] = failure
            self._print(f"{name}: failed: {failure.message}")
        else:
            self.states[name] = QueueState.WAITING
            self._print(f"{name}: {failure.message}; retrying")

    def _last_step(self, name: str) -> int:
        """The last step that the run reported, 0 before the first."""
        progress = read_progress(self._store.folder(name))
        return 0 if progress is None else progress.step

    def _print(self, line: str) -> None:
        closed = len(self._planned) - len(self._open_runs())
        self._console.print(
            f"[{closed}/{len(self._planned)}] {line}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
