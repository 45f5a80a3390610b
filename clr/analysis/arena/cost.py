"""Cost of a step of each method, measured by bench/optimizers.py into FOLDER/cost.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clr.errors import UserError, first_line

COMMAND = ".venv/bin/python bench/optimizers.py"


@dataclass(frozen=True)
class Cost:
    """Cost of a step of one method, over that of SGD."""

    time: float  # seconds of a step of the optimizer, without the gradients: median ratio
    memory: float  # parameters, gradients and the optimizer's state


@dataclass(frozen=True)
class Costs:
    """Costs of all methods, and what they were measured on."""

    by_method: dict[str, Cost]
    conditions: str  # model, hardware, versions and date in a sentence


def read_costs(folder: Path) -> Costs | None:
    """Read `folder`/cost.json; None if it does not exist, UserError if it is damaged."""
    path = folder / "cost.json"
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        costs = {
            name: Cost(float(own["time_ratio"]), float(own["memory_ratio"]))
            for name, own in content["methods"].items()
        }
        conditions = (
            f"{content['model']}, {content['hardware']}, {content['threads']} threads, "
            f"PyTorch {content['torch']}, {content['date']}"
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({first_line(error)}); create it again with: {COMMAND} {path}"
        ) from None
    return Costs(costs, conditions)
