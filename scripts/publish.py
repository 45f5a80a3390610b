"""Put a protocol's figures and verdicts into W&B, beside its runs: `python scripts/publish.py results/cpu`.

In the project, the group and the mode of the runs, unless told otherwise, such as by wandb.mode=online.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from clr.cli import run_main
from clr.config import from_dict
from clr.errors import UserError
from clr.training.wandb_mirror import publish


def main() -> None:
    if len(sys.argv) < 2 or not (folder := Path(sys.argv[1])).is_dir():
        raise UserError("the first argument is a folder of results, such as results/quick")
    protocol = folder.resolve().name
    for name, remedy in (
        ("runs.jsonl", "make reproduce"),
        ("figures", "make figures"),
        ("claims.csv", "make claims"),
    ):
        if not (folder / name).exists():
            raise UserError(
                f"{folder / name} is missing; make it with: {remedy} PROTOCOL={protocol}"
            )
    last = (folder / "runs.jsonl").read_text().splitlines()[-1]
    told = OmegaConf.merge(json.loads(last)["config"], OmegaConf.from_dotlist(sys.argv[2:]))
    cfg = from_dict(OmegaConf.to_container(told))  # type: ignore[arg-type]
    pictures = {path.stem: path for path in sorted((folder / "figures").glob("*.png"))}
    verdicts = pd.read_csv(folder / "claims.csv", dtype=str, keep_default_na=False)
    name = f"report-{protocol}"
    kept = Path(cfg.store) / name
    kept.mkdir(parents=True, exist_ok=True)
    publish(cfg.wandb, name, pictures, verdicts, kept)
    print(
        f"{len(pictures)} figures and {len(verdicts)} verdicts: W&B is {cfg.wandb.mode}, its run is {name}"
    )


if __name__ == "__main__":
    run_main(main)
