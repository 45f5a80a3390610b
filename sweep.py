"""Train the runs that figures need: `python sweep.py figure=2,6 protocol=cpu train.device=cpu`.

Runs that the store has are not trained again. The tables for the figures go to results/PROTOCOL.
`sweep.py --help` lists the settings.
"""

import os
import re
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from clr.cli import check_options, fail, run_main
from clr.errors import UserError
from clr.sweeps.run_sweep import run_sweep


@hydra.main(config_path="configs", config_name="sweep", version_base="1.3")
def main(sweep: DictConfig) -> None:
    try:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise UserError("a sweep is one process, not one per rank; call it without torchrun")
        failed = run_sweep(sweep, instantiate(HydraConfig.get().launcher))
    except Exception as error:
        fail(error)
    if failed:
        sys.exit(1)


def arguments(command_line: list[str]) -> list[str]:
    """Translate the command line to Hydra's syntax.

    `figure=2,6` becomes one list instead of two jobs, all train.KEY=VALUE become one list, and
    `--dry-run` becomes a key.
    """
    translated, train = [], []
    for argument in command_line:
        if of_runs := re.fullmatch(r"([+~]*)train\.(.*)", argument, re.DOTALL):
            train.append(_quote(of_runs[1] + of_runs[2]))
        elif argument == "--dry-run":
            translated.append("dry_run=true")
        else:
            translated.append(re.sub(r"^figure=([\w, ]+)$", r"figure=[\1]", argument))
    if train or not any(argument.startswith("train=") for argument in translated):
        translated.append(f"train=[{','.join(train)}]")
    return translated


def _quote(text: str) -> str:
    """Quote a string for Hydra: a backslash counts as an escape only before a quote or the end."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def translate_and_run() -> None:
    sys.argv = [sys.argv[0], *arguments(sys.argv[1:])]
    check_options(sys.argv[1:])
    main()


if __name__ == "__main__":
    run_main(translate_and_run)
