"""Weights & Biases, a mirror of the local records. Only this module knows it.

One thread makes all calls to wandb, fed by a queue, so that a slow or unreachable server never
delays a training step.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from clr.config import WandbConfig
from clr.errors import UserError, first_line
from clr.runs.identity import wandb_id

INIT_SECONDS = 20  # for a server to answer before the run is kept offline
FINISH_SECONDS = 60  # for the last uploads; the run's own records are complete by then


class WandbMirror:
    """Mirrors rows into a W&B run (`clr.training.mirror.Mirror`).

    If the block raises, W&B shows the run as failed. The exit waits for the last uploads, for at
    most about `FINISH_SECONDS`.

    Args:
        wandb: project, group, tags and mode, which is not disabled.
        name: of the run in the store and in W&B.
        config: shown with the run.
        folder: the run's folder, which gets W&B's files.
    """

    # Shared by all runs of a process, because each attempt to reach the server takes half a minute.
    _unreachable = False

    def __init__(self, wandb: WandbConfig, name: str, config: dict[str, Any], folder: Path) -> None:
        self._queue: queue.SimpleQueue[_Row | _End] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._mirror,
            args=(wandb, name, config, folder),
            daemon=True,
            name="wandb mirror",
        )
        self._thread.start()

    def log(self, row: dict[str, Any], prefix: str) -> None:
        """Queue one row; its column `step` becomes W&B's step."""
        values = {f"{prefix}/{key}": value for key, value in row.items() if key != "step"}
        self._queue.put(_Row(values, int(row["step"])))

    def __enter__(self) -> WandbMirror:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        self._queue.put(_End(exit_code=0 if kind is None else 1))
        self._thread.join(INIT_SECONDS + FINISH_SECONDS)
        if self._thread.is_alive():
            message = "W&B has not taken all rows in time; the local records are complete"
            print(message, file=sys.stderr)

    def _mirror(self, wandb: WandbConfig, name: str, config: dict[str, Any], folder: Path) -> None:
        try:
            # Training has priority. On Linux this sets the priority of this thread alone, and
            # W&B's own process inherits it.
            if sys.platform == "linux":
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
            run = _start(wandb, name, config, folder)
            while isinstance(item := self._queue.get(), _Row):
                run.log(item.values, step=item.step)
            if (problem := _finish(run, item.exit_code)) is not None:
                print(problem, file=sys.stderr)
        except Exception as error:  # whatever happens to the mirror, training continues
            print(f"W&B is off for this run: {first_line(error)}", file=sys.stderr)
            _forget_service()


@dataclass(frozen=True)
class _Row:
    """Values by their name in W&B, and their step."""

    values: dict[str, Any]
    step: int


@dataclass(frozen=True)
class _End:
    """The end of a session, with the exit code that W&B shows as finished or failed."""

    exit_code: int


def _finish(run: Any, exit_code: int) -> str | None:
    """Wait for the uploads of a run. Return a message if the server does not take them."""
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        return (
            f"W&B did not take everything within {FINISH_SECONDS} s; the local records are "
            f"complete; upload the rest with: wandb sync {run.settings.sync_dir}"
        )
    return None


def _forget_service() -> None:
    """End W&B's own process, so that it cannot raise at the exit of this one."""
    import wandb as library

    with suppress(Exception):
        library.teardown()


def publish(
    wandb: WandbConfig, name: str, pictures: dict[str, Path], verdicts: pd.DataFrame, folder: Path
) -> None:
    """Log figures and the table of verdicts to a W&B run of their own, in the runs' group.

    Called again, it adds to the same run. Does nothing with `wandb.mode=disabled`.

    Args:
        pictures: files by the name of their figure.
        folder: keeps W&B's files until they are uploaded.

    Raises:
        UserError: if the server fails, or does not take everything in time.
    """
    if wandb.mode == "disabled":
        return
    run = _start(wandb, name, {}, folder)
    import wandb as library

    images = {f"figures/{figure}": library.Image(str(path)) for figure, path in pictures.items()}
    try:
        run.log({**images, "verdicts": library.Table(dataframe=verdicts)})
        problem = _finish(run, exit_code=0)
    except library.Error as error:
        problem = f"W&B failed ({first_line(error)}); run the command again when it can be reached"
    if problem is not None:
        raise UserError(problem)


def _start(wandb: WandbConfig, name: str, config: dict[str, Any], folder: Path) -> Any:
    """Start or resume a W&B run: online if the server can be reached, else offline."""
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb as library

    for logger in ("wandb", "opentelemetry"):  # the second reports on W&B's telemetry
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    if wandb.mode == "online" and not WandbMirror._unreachable:
        try:
            # Without a prompt: a batch job would wait for the API key forever.
            if library.login(prompt=False):
                return _init(wandb, name, config, folder, "online")
            reason = "there is no API key; set WANDB_API_KEY or call wandb login"
        except Exception as error:
            reason = first_line(error)
        WandbMirror._unreachable = True
        message = (
            f"W&B cannot be reached ({reason}); runs are kept offline, wandb sync uploads them"
        )
        print(message, file=sys.stderr)
    return _init(wandb, name, config, folder, "offline")


def _init(
    wandb: WandbConfig,
    name: str,
    config: dict[str, Any],
    folder: Path,
    mode: Literal["online", "offline"],
) -> Any:
    import wandb as library

    settings = library.Settings(
        init_timeout=INIT_SECONDS,
        console="off",
        silent=True,
        # Also limits W&B's own hook at the exit of the process, which waits forever by default.
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
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
