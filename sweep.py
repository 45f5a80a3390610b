"""The runs that figures need: `python sweep.py figure=2,6 protocol=cpu train.device=cpu`.

Runs that the store has are not made again; the tables for the figures go to results/PROTOCOL. `train.KEY=VALUE`
overrides KEY of configs/train.yaml in every run, `hydra/launcher=workers|submitit_local|submitit_slurm` says who makes
them, and `--dry-run` only shows what is done and what is to do.
"""

import os
import re
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from clr.cli import fail, run_main
from clr.errors import UserError
from clr.sweeps.plan import run_sweep


@hydra.main(config_path="configs", config_name="sweep", version_base="1.3")
def main(sweep: DictConfig) -> None:
    try:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise UserError(
                "a sweep is one process, not one a rank: call sweep.py without torchrun"
            )
        failed = run_sweep(sweep, instantiate(HydraConfig.get().launcher))
    except Exception as error:
        fail(error)
    if failed:
        sys.exit(1)


def arguments(given: list[str]) -> list[str]:
    """The command line as Hydra wants it: figure=2,6 is one list, not two jobs, and all train.* are one list too."""
    given = ["dry_run=true" if a == "--dry-run" else a for a in given]
    rest = [
        re.sub(r"^figure=([\w,]+)$", r"figure=[\1]", a) for a in given if not a.startswith("train.")
    ]
    for_train = [
        a.removeprefix("train.").replace("'", r"\'") for a in given if a.startswith("train.")
    ]
    return [*rest, "train=[" + ",".join(f"'{a}'" for a in for_train) + "]"]


if __name__ == "__main__":
    sys.argv = [sys.argv[0], *arguments(sys.argv[1:])]
    run_main(main)
