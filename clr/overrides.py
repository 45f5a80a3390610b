"""Hydra's override syntax: writing a value so that it is read back, and explaining refusals."""

from __future__ import annotations

import re
import shlex
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException

_CONFIGS = Path(__file__).resolve().parent.parent / "configs"
# Text that needs no quotes, unless Hydra reads it as a constant or a number.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
# What OmegaConf reports about a value, and what it means to the user.
_TYPE_PROBLEMS = {
    "is not Optional": "is not accepted; the key needs a value",
    "Incompatible value 'None'": "is not accepted; the key needs a value",
    "converted to Integer": "is not an integer; give one such as 5",
    "converted to Float": "is not a number; give one such as 0.5",
    "to string": "is not text; give a single value, in quotes if it has brackets",
    "is not a valid bool": "is not true or false; give one of them",
    "is not a ListConfig": "is not a list; write it in brackets: [a,b]",
}
_CONSTANTS = {"true", "false", "null", "inf", "infinity", "nan"}


def format_value(value: Any) -> str:
    """Write a plain value (text, number, bool, None, list, dict) as the value of an override."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _CONSTANTS
        return value if plain else _quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(format_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{format_value(item)}" for key, item in value.items()) + "}"
    return repr(value)


def escape_interpolations(value: Any) -> Any:
    """The value with each `${` in its text escaped, so that OmegaConf resolves to the same text."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", value)
    if isinstance(value, list | tuple):
        return [escape_interpolations(item) for item in value]
    if isinstance(value, dict):
        return {key: escape_interpolations(item) for key, item in value.items()}
    return value


def _quoted(text: str) -> str:
    """Text in Hydra's single quotes; a backslash escapes quotes and backslashes before them."""
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", escape_interpolations(text))
    return "'" + re.sub(r"(\\+)\Z", lambda match: match[1] * 2, escaped) + "'"


def explain_override_error(error: BaseException, arguments: Sequence[str]) -> str | None:
    """One line for an error in an override that Hydra reports unclearly, or None for other errors.

    Args:
        error: the exception that Hydra raised.
        arguments: the command line, without the name of the program.
    """
    if isinstance(error, OverrideParseException):
        return _explain_syntax(error.override)
    if _is_in_defaults_list(error):
        for argument in _with_nested(arguments):
            if argument.startswith(("=", "+=", "++=", "~=")):
                return f"{argument} has no key; write KEY=VALUE"
            key, _, value = argument.partition("=")
            group = key.strip("+~").partition("@")[0]
            if (_CONFIGS / group).is_dir() and not _is_text(value):
                return f"{argument}: {key} takes the name of a config; see configs/{group}"
    return None


def _with_nested(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments, followed by the overrides of runs in sweep.py's `train=[...]`."""
    yield from arguments
    for argument in arguments:
        if argument.startswith("train=["):
            nested = OverridesParser.create().parse_override(argument).value()
            if isinstance(nested, list):
                yield from (str(override) for override in nested)


def _is_in_defaults_list(error: BaseException) -> bool:
    """Return whether Hydra failed on the value of a config group.

    It refuses some values with a ValueError, and fails at others, such as lists of numbers.
    """
    if isinstance(error, ValueError):
        return str(error).startswith("Config group override")
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, TypeError) and frames[-1].filename.endswith("defaults_list.py")


def _explain_syntax(override: str) -> str:
    if not override.isprintable():
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in override)
        return f"{shown} cannot be parsed as KEY=VALUE: it contains control characters"
    key, separator, value = override.partition("=")
    problem = f"{override} cannot be parsed as KEY=VALUE"
    fix = f"{key}={format_value(value)}"
    if separator and _parses(fix):
        for_shell = shlex.quote(fix) if re.search(r'["$`\\\\!]', fix) else f'"{fix}"'
        return f"{problem}; quote the value: {for_shell}"
    return f"{problem}; see https://hydra.cc/docs/advanced/override_grammar/basic"


def _parses(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def explain_merge_error(error: BaseException) -> str | None:
    """One line for a value that Hydra cannot merge into the config, or None for other errors."""
    found = re.match(r"Error merging override ([^=]+)=(.*)", str(error), re.DOTALL)
    if found is None or error.__cause__ is None:
        return None
    key, value = found[1].lstrip("+"), found[2].rstrip()
    problem = explain_type_error(error.__cause__)
    return f"{key}={value} {problem}" if problem else None


def explain_type_error(error: BaseException) -> str | None:
    """Explain why OmegaConf refuses a value because of its type; None for other errors."""
    reason = str(error)
    return next((text for sign, text in _TYPE_PROBLEMS.items() if sign in reason), None)


def _is_text(value: str) -> bool:
    try:
        return isinstance(OverridesParser.create().parse_override(f"key={value}").value(), str)
    except HydraException:
        return False
