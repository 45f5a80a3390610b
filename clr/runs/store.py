"""The store of runs: one folder a run, named by what determines its numbers.

store/<name>-<hash>/
    config.yaml       the resolved config
    checkpoints/      what a run that was killed goes on from (clr.training.checkpoint); gone once it is finished
    lock              who makes the run now, renewed every few seconds
    log.txt           what its processes printed, those of a sweep
    progress.json     how far it is; gone once it is finished
    steps.parquet     one row a step     (clr.training.recorder)
    epochs.parquet    one row an epoch
    corridor_meter.parquet     one row a measured step, of a run with diagnostics.every
    run.json          summary and provenance; written last, so its presence says that the run is finished
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from filelock import SoftFileLease, Timeout
from omegaconf import OmegaConf

from clr.config import TrainConfig, from_dict
from clr.errors import Busy, UserError
from clr.files import null_to_nan, write_json, write_text
from clr.training.checkpoint import Checkpoints

# A lock whose owner is dead on this host is taken over at once; one of another host, where nobody can look, after its
# owner has not renewed it for so long. All programs on a store must agree on it.
LEASE_SECONDS = 30.0


def identity(cfg: TrainConfig, fingerprint: str) -> dict[str, Any]:
    """What determines the numbers of a run: data (by content), model, optimizer, budget, seed.

    Keys that came after the first published results are left out at their defaults, so that older ids stay.
    """
    model = {"name": cfg.model.name, "stem": cfg.model.stem}
    for key, default in {"norm": "batch", "init": "torchvision"}.items():
        if getattr(cfg.model, key) != default:
            model[key] = getattr(cfg.model, key)
    return {
        "data": fingerprint,
        "augmentation": [cfg.dataset.crop_padding, cfg.dataset.flip],
        "model": model,
        "optimizer": cfg.optimizer,
        "batch_size": cfg.batch_size,
        "epochs": cfg.epochs,
        "seed": cfg.seed,
        "precision": cfg.precision,
    }


def run_id(cfg: TrainConfig, fingerprint: str) -> str:
    """A readable name and a hash of the identity."""
    digest = hashlib.sha256(
        json.dumps(identity(cfg, fingerprint), sort_keys=True).encode()
    ).hexdigest()[:10]
    rate = f"{cfg.optimizer['lr']:g}" if "lr" in cfg.optimizer else ""
    optimizer = f"{cfg.optimizer['name']}{rate}"
    return f"{cfg.dataset.name}-{cfg.model.name}-b{cfg.batch_size}-{optimizer}-s{cfg.seed}-{digest}"


def _measured(had: int | None, every: int | None) -> bool:
    """Whether a meter at every `had` steps has measured all that one at every `every` steps would; None is off."""
    return every is None or (had is not None and every % had == 0)


class Store:
    """The runs below one folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, name: str) -> Path:
        return self.root / name

    def finished(self, name: str, every: int | None = None) -> dict[str, Any] | None:
        """The finished run's run.json; None for a run that is not there or not finished.

        Nor does a run count whose meter was off, or left out steps that `every` (diagnostics.every) asks for: the meter
        is no part of a run's identity, and is had by making the run again.
        """
        path = self.folder(name) / "run.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            found["summary"] = null_to_nan(found.get("summary", {}))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is damaged ({error}); delete the folder {path.parent} to make the run again"
            ) from None
        return (
            found if _measured(found["config"].get("diagnostics", {}).get("every"), every) else None
        )

    def completed(self, name: str, cfg: TrainConfig) -> dict[str, Any] | None:
        """The finished run's run.json, if it has all that `cfg` asks for."""
        return self.finished(name, cfg.diagnostics.every)

    def begun(self, name: str) -> bool:
        return (self.folder(name) / "config.yaml").exists()

    def all_finished(self) -> Iterator[dict[str, Any]]:
        """The run.json of each finished run."""
        for path in sorted(self.root.glob("*/run.json")):
            if (done := self.finished(path.parent.name)) is not None:
                yield done

    def lease(self, name: str) -> SoftFileLease:
        """The lock on a run, not taken yet. Safe between processes and, on a shared file system, between hosts."""
        return SoftFileLease(self.folder(name) / "lock", lease_duration=LEASE_SECONDS)

    def busy(self, name: str) -> bool:
        """Whether some process seems to make the run."""
        try:
            with self.claim(name):
                return False
        except Busy:
            return True

    @contextmanager
    def claim(
        self, name: str, patience: float = 0.0, lease: SoftFileLease | None = None
    ) -> Iterator[SoftFileLease]:
        """Hold the run, so that nobody else makes it; Busy if its owner still lives after `patience` seconds.

        A `lease` that is given again remembers since when its owner has not renewed it. UserError if the run's
        folder is not writable. Whoever holds the run must leave it once the lease's `compromise` is set: after a long
        pause somebody else may have taken it over.
        """
        lease = lease or self.lease(name)
        try:
            self.folder(name).mkdir(parents=True, exist_ok=True)
            lease.acquire(timeout=patience)
        except Timeout:
            owner = lease.owner
            who = (
                f"process {owner.pid} on {owner.hostname}"
                if owner is not None
                else "another process"
            )
            raise Busy(f"{name} is being made by {who}") from None
        except OSError as error:
            raise UserError(
                f"cannot write the run's folder {self.folder(name)}: {error.strerror}; choose another store=…"
            ) from None
        try:
            yield lease
        finally:
            lease.release()

    def stored_config(self, name: str) -> TrainConfig:
        """The resolved config of a run that was begun."""
        path = self.folder(name) / "config.yaml"
        try:
            return from_dict(yaml.safe_load(path.read_text()))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(
                f"{path} is damaged ({error}); delete the folder {path.parent}"
            ) from None

    def begin(self, name: str, cfg: TrainConfig, fingerprint: str) -> Path:
        """The folder of a run that starts or goes on, with its config, from here on not finished.

        What was begun with less of a meter than `cfg` asks for starts anew. UserError if the folder is not writable, or
        holds what was begun with another config than its name says.
        """
        folder = self.folder(name)
        path = folder / "config.yaml"
        try:
            if path.exists():
                begun = self.stored_config(name)
                was, is_now = identity(begun, fingerprint), identity(cfg, fingerprint)
                if changed := [
                    f"{key} was {was[key]}, is {is_now[key]}"
                    for key in was
                    if was[key] != is_now[key]
                ]:
                    raise UserError(
                        f"{path} was changed since the run began ({'; '.join(changed)}); delete the folder {folder}"
                    )
                if not _measured(begun.diagnostics.every, cfg.diagnostics.every):
                    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "run.json").unlink(
                missing_ok=True
            )  # before the records that it stands for are overwritten
            write_text(OmegaConf.to_yaml(OmegaConf.create(asdict(cfg))), path)
        except OSError as error:
            raise UserError(
                f"cannot write the run's folder {folder}: {error.strerror}; choose another store=…"
            ) from None
        return folder

    def checkpoints(self, name: str, keep: int) -> Checkpoints:
        return Checkpoints(self.folder(name) / "checkpoints", keep)

    def finish(self, name: str, content: dict[str, Any]) -> None:
        write_json(content, self.folder(name) / "run.json")
        (self.folder(name) / "progress.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder(name) / "checkpoints", ignore_errors=True)
