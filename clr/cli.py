"""Shared error handling and exit codes of the command-line entry points.

| exit code | meaning |
| --- | --- |
| 0 | success |
| 1 | an error with a traceback, or the failure of another rank |
| 2 | a mistake that the user can fix, in one line |
| 75 | stopped early; run the same command again (`clr.errors.CONTINUE`) |
| 130 | interrupted by Ctrl-C |
| 141 | the program that reads the output, such as `head`, has ended |
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from clr.errors import CONTINUE, Busy, RankFailed, Stopped, UserError, first_line
from clr.overrides import explain_merge_error, explain_override_error

PIPE_CLOSED = 141  # as a shell reports SIGPIPE


def run_main(main: Callable[[], None]) -> None:
    """Call `main`; if it raises, report the error and exit (see `fail`)."""
    # Hydra then raises its errors instead of printing several lines and exiting.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _stdout_is_closed():
            fail(error)
        # Python would fail once more when it flushes at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE_CLOSED)
    except (Exception, KeyboardInterrupt) as error:
        fail(error)


def _stdout_is_closed() -> bool:
    """Return whether the program that reads the standard output has ended."""
    poll = select.poll()
    poll.register(sys.stdout)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def check_options(arguments: Sequence[str]) -> None:
    """Check the options of a command line with Hydra's own parser, which would print its usage.

    Raises:
        UserError: for an unknown option, or an option with a wrong value.
    """
    parser = get_args_parser()
    parser.exit_on_error, parser.allow_abbrev = False, False
    if "--version" in arguments:
        return
    try:
        _, unknown = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise UserError(f"{error}; see --help") from None
    if unknown:
        raise UserError(f"{unknown[0]} is not an option; see --help, and set keys by KEY=VALUE")


def fail(error: BaseException) -> None:
    """Print the error to standard error and exit with its code.

    Call this inside the task function of `hydra.main` too, because Hydra adds a line to errors.
    """
    message, code = _report(error)
    print(message, file=sys.stderr, flush=True)
    if _distributed_is_initialized():
        # At a normal exit NCCL waits for its peers, which may be gone.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _report(error: BaseException) -> tuple[str, int]:
    """Return what to print about an error, and the exit code."""
    program = Path(sys.argv[0]).name
    if (line := explain_override_error(error, sys.argv[1:])) is not None:
        return f"{program}: {line}", 2
    if (line := _explain_output_folder(error)) is not None:
        return f"{program}: {line}", 2
    match error:
        case Busy():
            return f"{program}: {error}; this process leaves it alone", CONTINUE
        case Stopped():
            return f"{program}: {error}; run the same command again to resume", CONTINUE
        case KeyboardInterrupt():
            return f"{program}: interrupted; run the same command again to resume", 130
        case RankFailed():
            return f"{program}: {error}", 1
        case UserError() | HydraException() | OmegaConfBaseException():
            return f"{program}: {_one_line(error)}", 2
    return "".join(traceback.format_exception(error)), 1


def _explain_output_folder(error: BaseException) -> str | None:
    """One line if Hydra could not create the folder of its own output, hydra.run.dir."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, OSError) and any(frame.name == "run_job" for frame in frames[-6:]):
        return f"cannot create {error.filename}: {error.strerror}; choose another hydra.run.dir"
    return None


def _one_line(error: BaseException) -> str:
    """Return the error's message, with that of Hydra's cause, on one line."""
    if (line := explain_merge_error(error)) is not None:
        return " ".join(line.split())
    message = str(error).split("Config search path:")[0]
    if error.__cause__ is not None and not isinstance(error, UserError):
        message += f"\n{first_line(error.__cause__)}"
    if message.startswith("Could not override"):
        key = getattr(error.__cause__, "full_key", None)
        missing = f"no key {key}" if key else "no such key"
        message = f"{message.splitlines()[0]} There is {missing}; see configs/ and clr/config.py."
        if key and key.partition(".")[0] in ("optimizer", "model") and "." in key:
            message += " To add an argument to the config, put + before the override."
    return " ".join(message.split())


def _distributed_is_initialized() -> bool:
    """Return whether this process is in a process group, without importing torch to find out."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_initialized()
