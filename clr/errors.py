"""Exceptions that end a program, the exit code that asks for a rerun, and error summaries."""

from __future__ import annotations

# Exit code of a run that stopped early and should be resumed: EX_TEMPFAIL of sysexits.h.
CONTINUE = 75


class UserError(Exception):
    """A mistake that the user can fix. Entry points print it as one line and exit with code 2."""


class Stopped(Exception):
    """A run that was asked to stop and has written a checkpoint. Entry points exit with `CONTINUE`.

    Args:
        message: one line for the user.
        signal: name of the signal, on a rank that received one.
    """

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def signal(self) -> str | None:
        return self.args[1] if len(self.args) > 1 else None


class Busy(Exception):
    """Another process holds the lock on this run; the message names that process."""


class RankFailed(Exception):
    """Another rank of this run failed; the message is that rank's own if it could report one."""


def first_line(error: BaseException) -> str:
    """Return the first line of the error's message; without a message, the name of its type."""
    message = str(error).strip()
    return message.splitlines()[0] if message else type(error).__name__
