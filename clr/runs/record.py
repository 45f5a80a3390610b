"""JSON of a run's record, run.json: strict JSON out, strict JSON or Python's dialect in.

JSON has no NaN and no infinity. In `summary`, a number that is not finite is written as null,
because it is a mean that does not exist. Elsewhere null has a meaning of its own (`max_lr=null`),
so that infinity is written as {"$float": "inf"}. Records from before this rule have the bare words
NaN and Infinity, which Python's parser accepts.
"""

from __future__ import annotations

import json
import math
from typing import Any

from clr.files import null_to_nan

_FLOAT = "$float"
_REQUIRED = ("run_id", "status", "config", "data", "summary", "device", "provenance")


def encode_record(record: dict[str, Any], indent: int | None = None) -> str:
    """Serialize a record to strict JSON."""
    return json.dumps(strict_record(record), indent=indent, allow_nan=False)


def strict_record(record: dict[str, Any]) -> dict[str, Any]:
    """The record with a JSON value in place of each number that is not finite."""
    strict: dict[str, Any] = _tag_floats({**record, "summary": {}})
    strict["summary"] = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record["summary"].items()
    }
    return strict


def decode_record(text: str) -> dict[str, Any]:
    """Parse a record. ValueError if it is not JSON, or lacks a key that every record has."""
    record = json.loads(text, object_hook=_untag_float)
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    if missing := [key for key in _REQUIRED if key not in record]:
        raise ValueError(f"lacks {', '.join(missing)}")
    for key in ("config", "data", "summary", "provenance"):
        if not isinstance(record[key], dict):
            raise ValueError(f"{key} is not a JSON object")
    record["summary"] = null_to_nan(record["summary"])
    return record


def encode_arguments(optimizer: dict[str, Any]) -> str:
    """Serialize the arguments in an optimizer's config to one line of strict JSON, sorted."""
    arguments = {k: v for k, v in optimizer.items() if k not in ("name", "_target_")}
    return json.dumps(_tag_floats(arguments), sort_keys=True, ensure_ascii=False, allow_nan=False)


def decode_arguments(text: str) -> dict[str, Any]:
    """Parse the result of `encode_arguments`. ValueError if it is not a JSON object."""
    arguments = json.loads(text, object_hook=_untag_float)
    if not isinstance(arguments, dict):
        raise ValueError("not a JSON object")
    return arguments


def _tag_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tag_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tag_floats(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    return value


def _untag_float(value: dict[str, Any]) -> Any:
    return float(value[_FLOAT]) if value.keys() == {_FLOAT} else value
