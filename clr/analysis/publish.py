"""Upload of a protocol's figures and verdicts to W&B, next to its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clr.analysis.verdicts.table import read_claims
from clr.config import TrainConfig, from_dict
from clr.errors import UserError, first_line
from clr.runs.tables import check_folder, read_records
from clr.training.wandb_mirror import publish

# What a protocol's folder must hold, and the make target that creates it.
_REQUIRED = {"runs.jsonl": "reproduce", "figures": "figures"}


@dataclass(frozen=True)
class Published:
    """Counts of the figures and verdicts that were uploaded, or kept offline for `wandb sync`."""

    run: str  # name of the W&B run
    mode: str  # online, offline or disabled
    figures: int
    verdicts: int


def publish_results(folder: Path, overrides: list[str]) -> Published:
    """Put the figures and the table of verdicts of a results folder into a W&B run of their own.

    Project, group and mode are those of the runs in the folder.

    Args:
        folder: a folder such as results/quick.
        overrides: changes of the runs' config, such as "wandb.mode=online" or "store=/data/runs".

    Raises:
        UserError: if something in the folder is missing or damaged, or an override is wrong.
    """
    check_folder(folder)
    protocol = folder.resolve().name
    for name, target in _REQUIRED.items():
        if not (folder / name).exists():
            raise UserError(
                f"{folder / name} is missing; create it with: make {target} PROTOCOL={protocol}"
            )
    cfg = _config(folder, overrides)
    verdicts = read_claims(folder)
    pictures = {path.stem: path for path in sorted((folder / "figures").glob("*.png"))}
    if not pictures:
        raise UserError(
            f"{folder / 'figures'} has no figure; draw them with: make figures PROTOCOL={protocol}"
        )
    name = f"report-{protocol}"
    local_folder = Path(cfg.store) / name
    if cfg.wandb.mode != "disabled":
        local_folder.mkdir(parents=True, exist_ok=True)
        publish(cfg.wandb, name, pictures, verdicts, local_folder)
    return Published(name, cfg.wandb.mode, len(pictures), len(verdicts))


def _config(folder: Path, overrides: list[str]) -> TrainConfig:
    """Config of the last run in the folder, with `overrides`."""
    records = read_records(folder)
    if not records or not isinstance(records[-1].get("config"), dict):
        raise UserError(
            f"{folder / 'runs.jsonl'} has no run with a config; create it again with: "
            f"make reproduce PROTOCOL={folder.resolve().name}"
        )
    try:
        merged = OmegaConf.merge(records[-1]["config"], OmegaConf.from_dotlist(overrides))
        return from_dict(OmegaConf.to_container(merged))  # type: ignore[arg-type]
    except (OmegaConfBaseException, ValueError) as error:
        source = f"overrides {' '.join(overrides)}" if overrides else str(folder / "runs.jsonl")
        raise UserError(
            f"{source}: {first_line(error)}; write overrides as KEY=VALUE, with keys of configs/"
        ) from None
