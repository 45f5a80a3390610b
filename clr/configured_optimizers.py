"""Optimizers of configs/optimizer: display name, arguments and what they are tuned over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from clr.config import CONFIGS
from clr.errors import UserError, first_line
from clr.tuning import Tuning, check_tuned_argument, remove_tuning


@dataclass(frozen=True)
class Method:
    """An optimizer with its config file."""

    title: str | None  # display name; an optimizer without one is not in the arena
    arguments: dict[str, Any]  # the keys of the file except `tuning` and `title`
    tuning: Tuning | None  # None: nothing to tune

    @property
    def default(self) -> Any:
        """The value of the tuned argument in the file; None without tuning."""
        return None if self.tuning is None else self.arguments[self.tuning.key]


def read_method(name: str) -> Method:
    """Read configs/optimizer/NAME.yaml; UserError if it is missing or damaged."""
    if name not in method_names():
        raise UserError(
            f"optimizer {name} is unknown; configs/optimizer has {', '.join(method_names())}"
        )
    return _read(name)


@cache
def method_names() -> list[str]:
    """Names of the files in configs/optimizer, sorted."""
    return sorted(path.stem for path in (CONFIGS / "optimizer").glob("*.yaml"))


def titled_methods() -> list[str]:
    """Names of the optimizers with a title, which are those of the arena."""
    return [name for name in method_names() if _read(name).title is not None]


@cache
def _read(name: str) -> Method:
    path = CONFIGS / "optimizer" / f"{name}.yaml"
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        title = config.get("title")
        tuning = remove_tuning(config)
        if tuning is not None:
            check_tuned_argument(tuning, config)
    except (OSError, ValueError, AttributeError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {first_line(error)}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Method(title, config, tuning)
