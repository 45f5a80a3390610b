"""Hydra's override syntax: writing a value so that it is read back, and explaining refusals."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException

# Text that needs no quotes, unless Hydra reads it as a constant or a number.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
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
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        for argument in arguments:
            key, _, value = argument.partition("=")
            if not key.strip("+~"):
                return f"{argument} has no key; write KEY=VALUE"
            if re.fullmatch(r"[+\w/@]+", key) and not _is_text(value):
                return f"{argument}: {key} takes the name of a config; see configs/{key.strip('+')}"
    return None


def _explain_syntax(override: str) -> str:
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


def _is_text(value: str) -> bool:
    try:
        return isinstance(OverridesParser.create().parse_override(f"key={value}").value(), str)
    except HydraException:
        return False
