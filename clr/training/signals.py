"""Requests to stop from SLURM, submitit or an operator; the run stops after its current step."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopSignal:
    """Context in which SIGTERM, SIGUSR1 and SIGUSR2 are recorded in `received` and end nothing.

    SLURM sends TERM before it kills, and the signal that `--signal` names. submitit sends USR2,
    because NCCL uses USR1.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous_handlers: dict[signal.Signals, Any] = {}
        self._owner = os.getpid()

    def _record(self, number: int, frame: FrameType | None) -> None:
        # A forked child process inherits the handler, but has nothing to save.
        if os.getpid() == self._owner:
            self.received = signal.Signals(number).name

    def __enter__(self) -> StopSignal:
        # Python lets only the main thread set handlers.
        if threading.current_thread() is threading.main_thread():
            self._previous_handlers = {
                number: signal.signal(number, self._record) for number in self.SIGNALS
            }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
