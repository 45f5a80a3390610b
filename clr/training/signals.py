"""A stop that was asked for: by SLURM, by submitit, by an operator. The run leaves at the end of its step."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopSignal:
    """While active, notes SIGTERM, SIGUSR1 and SIGUSR2 instead of dying of them.

    SLURM sends TERM before it kills, and the signal that `--signal` names; submitit sends USR2, as NCCL takes USR1.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._owner = os.getpid()

    def _note(self, number: int, frame: FrameType | None) -> None:
        # A process that was forked from this one inherits the handler, but has nothing to save.
        if os.getpid() == self._owner:
            self.received = signal.Signals(number).name

    def __enter__(self) -> StopSignal:
        if (
            threading.current_thread() is threading.main_thread()
        ):  # Python lets no other thread set handlers
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
