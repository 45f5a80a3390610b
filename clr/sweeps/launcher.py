"""Interface of a launcher: the choice of `hydra/launcher=...` that a sweep trains its runs with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from clr.config import TrainConfig
from clr.sweeps.backends import Backend


class Launcher(Protocol):
    """Implemented in hydra_plugins/clr_launchers.py, where Hydra looks for launchers."""

    retries: int  # of a run that fails without having advanced since its last failure

    def backend(self, store: str, runs: Sequence[TrainConfig]) -> Backend:
        """Return the backend that trains runs of the store in the folder `store`.

        `runs` are the configs of those that are to be trained.
        """
