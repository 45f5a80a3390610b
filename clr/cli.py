"""What the doors share: how a program ends, for the user and for whoever called it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from clr.errors import CONTINUE, Busy, RankFailed, Stopped, UserError
from clr.overrides import explain_override_error


def run_main(main: Callable[[], None]) -> None:
    """Run a program's main function, and end by `fail` if it raises."""
    os.environ["HYDRA_FULL_ERROR"] = (
        "1"  # makes Hydra raise its errors instead of printing several lines
    )
    try:
        main()
    except (Exception, KeyboardInterrupt) as error:
        fail(error)


def fail(error: BaseException) -> None:
    """Tell what happened and leave: a user's mistake is one line and status 2, a stop that was asked for CONTINUE.

    To be called within the task that Hydra runs as well, as Hydra would print a line of its own about its exceptions.
    """
    name = Path(sys.argv[0]).name
    if isinstance(error, Busy):
        told, status = f"{name}: {error}; it is left alone", CONTINUE
    elif isinstance(error, Stopped):
        told, status = f"{name}: {error}; the same command goes on from there", CONTINUE
    elif isinstance(error, KeyboardInterrupt):
        told, status = f"{name}: stopped; the same command goes on with what is left", 130
    elif isinstance(error, RankFailed):
        told, status = f"{name}: {error}", 1
    elif (line := explain_override_error(error, sys.argv[1:])) is not None:
        told, status = f"{name}: {line}", 2
    elif isinstance(error, UserError | HydraException | OmegaConfBaseException):
        told, status = f"{name}: {_gist(error)}", 2
    else:
        told, status = "".join(traceback.format_exception(error)), 1
    print(told, file=sys.stderr, flush=True)
    if dist.is_initialized():
        # NCCL waits at the interpreter's end for ranks that may be gone.
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def _gist(error: BaseException) -> str:
    """The error's message on one line."""
    message = str(error).split("Config search path:")[0]
    if error.__cause__ is not None and not isinstance(error, UserError):
        message += f"\n{str(error.__cause__).splitlines()[0]}"
    if message.startswith("Could not override"):
        message = message.splitlines()[0] + " There is no such key: see configs/ and clr/config.py."
    return " ".join(message.split())
