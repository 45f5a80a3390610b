"""The exceptions that end a program, and how an exception is summarised in one line."""

from __future__ import annotations

CONTINUE = 75  # exit status of a run that stopped early and is to be started again; EX_TEMPFAIL of sysexits.h


class UserError(Exception):
    """A mistake that the user can fix. Entry points print it as one line without a traceback and exit with status 2."""


class Stopped(Exception):
    """The run was asked to stop and has written its checkpoint. Entry points exit with status `CONTINUE`.

    The arguments are a line for the user and, on a rank that received one, the name of the signal.
    """

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def signal(self) -> str | None:
        return self.args[1] if len(self.args) > 1 else None


class Busy(Exception):
    """Another process is training this run; the message says which."""


class RankFailed(Exception):
    """Another rank of this run failed; the message is that rank's own if it could still report one."""


def first_line(error: BaseException) -> str:
    """The first line of the error's message, or the name of its type if it has no message."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
