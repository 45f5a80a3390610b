"""Weights & Biases, the mirror of the local records. The only module that knows it.

All calls to wandb are made by one thread, fed by a queue: a server that is slow or away never holds up a step.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from clr.config import WandbConfig
from clr.runs.identity import wandb_id

INIT_SECONDS = 20  # for a server to answer before the run is kept offline
FINISH_SECONDS = 60  # for the last uploads, after the run's own records are safe


class Tracker:
    """Mirrors rows into a W&B run; does nothing with `wandb.mode=disabled`, nor where it is not `enabled`."""

    _unreachable = (
        False  # found out once for all the runs of a process: each try takes half a minute
    )

    def __init__(
        self, wandb: WandbConfig, name: str, config: dict[str, Any], folder: Path, enabled: bool
    ) -> None:
        self._queue: queue.SimpleQueue[tuple[dict[str, Any], int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        if enabled and wandb.mode != "disabled":
            arguments = (wandb, name, config, folder)
            self._thread = threading.Thread(
                target=self._mirror, args=arguments, daemon=True, name="wandb mirror"
            )
            self._thread.start()

    def log(self, row: dict[str, Any], prefix: str) -> None:
        """Queue one row; its column `step` becomes W&B's step."""
        if self._thread is not None:
            self._queue.put(
                ({f"{prefix}/{k}": v for k, v in row.items() if k != "step"}, int(row["step"]))
            )

    def close(self) -> None:
        """Let the mirror catch up, for a bounded time."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(FINISH_SECONDS)
            if self._thread.is_alive():
                print(
                    "W&B has not taken all rows in time; the local records are complete",
                    file=sys.stderr,
                )

    def _mirror(self, wandb: WandbConfig, name: str, config: dict[str, Any], folder: Path) -> None:
        try:
            # The training's threads come first; Linux ranks threads one by one, and W&B's own process inherits it.
            if sys.platform == "linux":
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
            run = self._start(wandb, name, config, folder)
            while (item := self._queue.get()) is not None:
                values, step = item
                run.log(values, step=step)
            run.finish()
        except Exception as error:  # whatever happens to the mirror, the run goes on
            print(f"W&B is off for this run: {str(error).splitlines()[0]}", file=sys.stderr)

    @staticmethod
    def _start(wandb: WandbConfig, name: str, config: dict[str, Any], folder: Path) -> Any:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb as library

        logging.getLogger("wandb").setLevel(logging.CRITICAL)

        def init(mode: Literal["online", "offline"]) -> Any:
            settings = library.Settings(
                init_timeout=INIT_SECONDS,
                console="off",
                silent=True,
                x_disable_stats=True,
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,
            )
            return library.init(
                project=wandb.project,
                entity=wandb.entity,
                group=wandb.group,
                tags=wandb.tags,
                id=wandb_id(name),
                name=name,
                config=config,
                dir=str(folder),
                mode=mode,
                settings=settings,
                reinit="create_new",
                resume="allow",
            )

        if wandb.mode == "online" and not Tracker._unreachable:
            try:
                if library.login(
                    prompt=False
                ):  # False: no API key; asking for one would hang a batch job
                    return init("online")
                reason = "there is no API key; set WANDB_API_KEY or call wandb login"
            except Exception as error:
                reason = str(error).splitlines()[0]
            Tracker._unreachable = True
            print(
                f"W&B cannot be reached ({reason}); runs are kept offline, wandb sync uploads them",
                file=sys.stderr,
            )
        return init("offline")


def publish(
    wandb: WandbConfig, name: str, pictures: dict[str, Path], verdicts: pd.DataFrame, folder: Path
) -> None:
    """Put pictures, by their names, and the table of verdicts into a W&B run of their own beside the group's others.

    Called again, it goes on with the same run. `folder` holds it until it is uploaded. Does nothing with
    `wandb.mode=disabled`.
    """
    if wandb.mode == "disabled":
        return
    run = Tracker._start(wandb, name, {}, folder)
    import wandb as library

    images = {f"figures/{of}": library.Image(str(path)) for of, path in pictures.items()}
    run.log({**images, "verdicts": library.Table(dataframe=verdicts)})
    run.finish()
