"""Interface of a backend, which trains a sweep's runs: in warm workers or in jobs of a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from clr.sweeps.failure import Failure


class Backend(Protocol):
    """Trains runs in other processes. A run is passed by name; its config is in the store."""

    def free_slots(self) -> int:
        """Return how many more runs can be started now."""

    def start(self, names: list[str]) -> None:
        """Start these runs, at most `free_slots()` of them."""

    def recover(self, names: Iterable[str]) -> set[str]:
        """Return those of the runs that an earlier sweep started and that are still in the queue.

        `poll_finished` reports their end as it does for runs started by this sweep.
        """

    def wait(self, seconds: float) -> None:
        """Wait for at most `seconds`, and less if the end of a run is noticed before."""

    def poll_finished(self) -> list[tuple[str, Failure | None]]:
        """Return the runs whose process ended since the last call, with the failure if known.

        The run may be finished, stopped or failed: the store has the result, and a failure that the
        process itself reported takes precedence over the backend's.
        """

    def close(self) -> None:
        """Release the processes. Called once, at the end of the sweep or when it is stopped."""
