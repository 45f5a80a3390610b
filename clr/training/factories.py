"""Call of a factory that a config names by `_target_`, with the config's other keys."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from clr.config_checks import EXAMPLE_CONFIGS
from clr.errors import UserError, first_line

# Errors by which a factory refuses its arguments. Libraries' own constructors raise many types.
_REFUSALS = (InstantiationException, TypeError, ValueError, AssertionError)
_LIBRARIES = ("torch.optim.", "torchvision.models.", "timm.")
# Keys of a config that are not arguments of its factory; the trainer applies the schedule.
_NOT_ARGUMENTS = {"model": ("name",), "optimizer": ("name", "schedule")}
# Packages of the methods that CLR is compared with (clr.methods).
_ARENA_PACKAGES = ("dadaptation", "prodigyopt", "schedulefree")
_PACKAGE = Path(__file__).resolve().parent.parent
_NOT_THE_USERS = ("<", f"{_PACKAGE}{os.sep}", *sysconfig.get_paths().values())


def factory_label(group: str, config: dict[str, Any]) -> str:
    """Name of a model or an optimizer in messages, such as "optimizer sgd (torch.optim.SGD)"."""
    return f"{group} {config['name']} ({config['_target_']})"


def call_factory(group: str, config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call the factory `_target_` of a config with the config's other keys as arguments.

    Args:
        group: "optimizer" or "model".
        config: its config, as `TrainConfig` holds it.
        args, kwargs: further arguments of the factory.

    Raises:
        UserError: if the factory cannot be imported, or refuses its arguments.
    """
    target, label = config["_target_"], factory_label(group, config)
    arguments = {k: v for k, v in config.items() if k not in _NOT_ARGUMENTS[group]}
    try:
        # Lists and dicts reach the factory as such, not as OmegaConf's containers, which no
        # checkpoint can hold.
        factory = instantiate({**arguments, "_partial_": True, "_convert_": "all"})
    except InstantiationException as error:
        if isinstance(error.__cause__, ImportError):
            raise UserError(
                f"{label} cannot be imported ({_import_problem(error.__cause__)}); "
                f"{_import_advice(error.__cause__)}"
            ) from None
        raise UserError(_refusal(label, arguments, error, group)) from None
    try:
        return factory(*args, **kwargs)
    except Exception as error:
        if not (target.startswith(_LIBRARIES) or isinstance(error, _REFUSALS)):
            raise
        raise UserError(_refusal(label, {**arguments, **kwargs}, error, group)) from None


def describe_error(error: BaseException) -> str:
    """First line of the error's message, with the line of the user's own code that raised it.

    Code of installed packages, of Python and of `clr` is not the user's.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{first_line(error)}{where}"


def _refusal(label: str, arguments: dict[str, Any], error: Exception, group: str) -> str:
    given = ", ".join(f"{k}={v}" for k, v in arguments.items() if k != "_target_")
    return (
        f"{label} cannot be built with {given or 'no arguments'}: {describe_error(error)}; "
        f"see {EXAMPLE_CONFIGS[group]}"
    )


def _import_advice(cause: ImportError) -> str:
    missing = cause.__cause__
    if isinstance(missing, ModuleNotFoundError) and missing.name in _ARENA_PACKAGES:
        return "run pip install -r requirements-arena.txt"
    return (
        "give _target_ as MODULE.NAME, of an installed package or a file that is next to train.py "
        "or in a folder of PYTHONPATH"
    )


def _import_problem(cause: ImportError) -> str:
    """The error of the import itself, which Hydra puts into the second line of its own."""
    lines = str(cause).splitlines()
    found = re.search(r"Are you sure that '(.+)' is importable from module '(.+)'", lines[-1])
    if found and f"No module named '{found[2]}.{found[1]}'" in lines[1]:
        return f"{found[2]} has no {found[1]}"
    return lines[1] if len(lines) > 1 else lines[0]
