"""The store of runs: one folder a run, named by what determines its numbers.

store/<name>-<hash>/
    config.yaml       the resolved config
    steps.parquet     one row a step     (clr.records)
    epochs.parquet    one row an epoch
    run.json          summary and provenance; written last, so its presence says that the run is finished
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from clr.config import TrainConfig
from clr.errors import UserError
from clr.records import write_text


def run_id(cfg: TrainConfig, fingerprint: str) -> str:
    """A readable name and a hash of what determines the numbers: data (by content), model, optimizer, budget, seed."""
    identity = {
        "data": fingerprint,
        "augmentation": [cfg.dataset.crop_padding, cfg.dataset.flip],
        "model": asdict(cfg.model),
        "optimizer": cfg.optimizer,
        "batch_size": cfg.batch_size,
        "epochs": cfg.epochs,
        "seed": cfg.seed,
        "precision": cfg.precision,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    rate = f"{cfg.optimizer['lr']:g}" if "lr" in cfg.optimizer else ""
    optimizer = f"{cfg.optimizer['name']}{rate}"
    return f"{cfg.dataset.name}-{cfg.model.name}-b{cfg.batch_size}-{optimizer}-s{cfg.seed}-{digest}"


class Store:
    """The runs below one folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, name: str) -> Path:
        return self.root / name

    def finished(self, name: str) -> dict[str, Any] | None:
        """The finished run's run.json; None for a run that is not there or not finished."""
        path = self.folder(name) / "run.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is damaged ({error}); delete the folder {path.parent} to make the run again"
            ) from None
        return found

    def begin(self, name: str, config: dict[str, Any]) -> Path:
        """An empty folder for a run that starts afresh, with its config; what a killed one left there is removed."""
        folder = self.folder(name)
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_text(OmegaConf.to_yaml(OmegaConf.create(config)), folder / "config.yaml")
        except OSError as error:
            raise UserError(
                f"cannot write the run's folder {folder}: {error.strerror}; choose another store=…"
            ) from None
        return folder

    def finish(self, name: str, content: dict[str, Any]) -> None:
        write_text(json.dumps(content, indent=1), self.folder(name) / "run.json")
