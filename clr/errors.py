"""The one exception that a user may see: a line that says what is wrong and how to mend it."""


class UserError(Exception):
    """A mistake the user can mend. The doors print it as one line, without a traceback, and exit with status 2."""
