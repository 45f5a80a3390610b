"""The command that repeats a run, worked out from the config that it was made with."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any

from clr.config import CONFIGS, from_dict, load

# Where and how a run is made, not what it computes: the reader's own.
NOT_REPEATED = (
    *(
        "wandb",
        "device",
        "device_batch_size",
        "compile",
        "loader",
        "workers",
        "data_dir",
        "store",
        "checkpoint",
    ),
    *("progress", "dataset.path", "dataset.title"),
)
# Told though they may be the defaults, since a reader looks for them.
ALWAYS = ("optimizer.lr", "batch_size", "epochs", "precision", "seed")


def command(config: dict[str, Any], here: bool = False) -> str:
    """A shell's line that calls train.py such that it makes the run of `config`, a run.json's `config`.

    Its overrides choose the config groups of the run's names and set what differs from them. Where and how the run is
    made is the reader's own, and `dataset.path` of a folder of images a placeholder, unless it is for use `here`.
    """
    return shlex.join([".venv/bin/python", "train.py", *overrides(config, here)])


def overrides(config: dict[str, Any], here: bool = False) -> list[str]:
    """The Hydra overrides of `command`."""
    of_run = asdict(from_dict(config))
    dataset, model, optimizer = (
        of_run["dataset"],
        of_run["model"]["name"],
        of_run["optimizer"]["name"],
    )
    groups = [
        f"dataset={dataset['name'] if _has('dataset', dataset['name']) else dataset['source']}",
        f"model={model}",
        # A reader's own optimizer, whose config is not here, is told by what it has beside vanilla SGD's.
        f"optimizer={optimizer if _has('optimizer', optimizer) else 'sgd'}",
    ]
    if dataset["source"] == "folder" and not here:
        groups.append("dataset.path=FOLDER")
    base = groups if dataset["source"] != "folder" or not here else [*groups, "dataset.path=FOLDER"]
    chosen = dict(_flat(asdict(_base(tuple(base)))))
    wanted = dict(_flat(of_run))
    changed = [
        _set(key, wanted[key], key in chosen)
        for key in wanted
        if _differs(key, wanted, chosen, here)
    ]
    gone = [f"~{key}" for key in chosen if key.startswith("optimizer.") and key not in wanted]
    # Each group's own keys after it, as one would type them.
    order = list(of_run)
    return sorted(
        [*groups, *gone, *changed],
        key=lambda override: order.index(re.split(r"[.=]", override.strip("+~"))[0]),
    )


@cache
def _base(groups: tuple[str, ...]) -> Any:
    # Any numbers do where the groups have none: `overrides` tells the run's.
    return load([*groups, *(f"{key}=2" for key in ("batch_size", "epochs"))])


def _has(group: str, name: str) -> bool:
    return (CONFIGS / group / f"{name}.yaml").is_file()


def _differs(key: str, wanted: dict[str, Any], chosen: dict[str, Any], here: bool) -> bool:
    if not here and any(key == other or key.startswith(f"{other}.") for other in NOT_REPEATED):
        return False
    return key in ALWAYS or key not in chosen or wanted[key] != chosen[key]


def _flat(config: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested config by their dotted keys."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _set(key: str, value: Any, known: bool) -> str:
    """The override that gives `key` this value; Hydra wants a + before a key that is not in the config yet."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_/][\w./-]*", value)
    quoted = "'" + value.replace("'", r"\'") + "'" if isinstance(value, str) else json.dumps(value)
    return f"{'' if known else '+'}{key}={value if plain else quoted}"
