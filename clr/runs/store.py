"""Store of runs: one folder per run, named by the run id.

store/RUN_ID/
    config.yaml             resolved config
    checkpoints/            clr.training.checkpoint; deleted when the run is completed
    lock                    owner of the run, renewed every few seconds
    log.txt                 output of a sweep's processes
    progress.json           current step; deleted when the run is completed
    steps.parquet           one row per step (clr.training.recorder)
    epochs.parquet          one row per epoch
    corridor_meter.parquet  one row per measured step, with diagnostics.every
    run.json                summary and provenance; written last: its presence marks the run as
                            completed
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clr.config import TrainConfig, from_dict
from clr.errors import Busy, UserError, first_line
from clr.files import write_text
from clr.runs.identity import identity
from clr.runs.lease import acquire
from clr.runs.progress_file import PROGRESS_FILE
from clr.runs.record import decode_record, encode_record

# The lock of an owner that died on this host is taken over at once. An owner on another host cannot
# be looked up: its lock is taken over if it is not renewed for this time. All programs that use a
# store must agree on it.
LEASE_SECONDS = 30.0


def has_measurements(recorded: int | None, requested: int | None) -> bool:
    """Return whether measuring every `recorded` steps covers measuring every `requested` steps.

    Both are values of diagnostics.every; None is off. The measurements are not part of a run's
    identity: this rule alone decides whether a run has those that a config asks for.
    """
    return requested is None or (recorded is not None and requested % recorded == 0)


class Store:
    """The runs below one folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._warned: set[Path] = set()

    def folder(self, name: str) -> Path:
        return self.root / name

    def names(self) -> list[str]:
        """The ids of all runs that were begun."""
        return sorted(path.parent.name for path in self.root.glob("*/config.yaml"))

    def finished(self, name: str) -> dict[str, Any] | None:
        """The run.json of a completed run, or None.

        A damaged run.json counts as missing, with one warning on stderr: the run is trained again.
        UserError if run.json cannot be read, or if the store is a file.
        """
        path = self.folder(name) / "run.json"
        try:
            return decode_record(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise UserError(
                f"{self._blocking_file(path)} is a file; the store must be a folder, "
                "choose another store=…"
            ) from None
        except ValueError as error:
            self._warn(path, f"{path} is damaged ({first_line(error)}); it counts as not completed")
            return None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None

    def completed(self, name: str, cfg: TrainConfig) -> dict[str, Any] | None:
        """The run.json of a completed run that has all measurements `cfg` asks for, or None."""
        record = self.finished(name)
        if record is None:
            return None
        recorded = record["config"].get("diagnostics", {}).get("every")
        return record if has_measurements(recorded, cfg.diagnostics.every) else None

    def begun(self, name: str) -> bool:
        """Return whether the run was started, completed or not."""
        return (self.folder(name) / "config.yaml").exists()

    def has_checkpoint(self, name: str) -> bool:
        """Return whether the run can be resumed."""
        return any(self.checkpoint_folder(name).glob("step-*.pt"))

    def all_finished(self) -> Iterator[dict[str, Any]]:
        """The run.json of each completed run."""
        for path in sorted(self.root.glob("*/run.json")):
            if (record := self.finished(path.parent.name)) is not None:
                yield record

    def lease(self, name: str) -> SoftFileLease:
        """The lock of a run, not acquired; it works between hosts that share a file system."""
        return SoftFileLease(self.folder(name) / "lock", lease_duration=LEASE_SECONDS)

    def busy(self, name: str) -> bool:
        """Return whether another process holds the lock of the run."""
        try:
            with self.claim(name):
                return False
        except Busy:
            return True

    @contextmanager
    def claim(
        self, name: str, patience: float | None = 0.0, lease: SoftFileLease | None = None
    ) -> Iterator[SoftFileLease]:
        """Hold the lock of a run.

        The holder must stop when the lease's `compromise` is set: after a long pause, another
        process may have taken the run over.

        Args:
            name: the run id.
            patience: seconds to wait for the lock. None waits until it is known whether the owner
                is alive: not at all for an owner on this host, else until it renews the lock or
                its lease expires (at most LEASE_SECONDS).
            lease: the result of an earlier `lease(name)`; it remembers when the owner last
                renewed the lock, so that short calls in a row notice a dead owner as well.

        Raises:
            Busy: if another process holds the lock.
            UserError: if the run's folder cannot be written.
        """
        lease = lease or self.lease(name)
        try:
            self.folder(name).mkdir(parents=True, exist_ok=True)
            acquire(lease, patience)
        except Timeout:
            owner = lease.owner
            who = f"process {owner.pid} on {owner.hostname}" if owner else "another process"
            raise Busy(f"{name} is being trained by {who}") from None
        except LeaseSettingsMismatch as error:
            raise UserError(
                f"{self.folder(name)} is locked by another version of this program "
                f"({first_line(error)}); stop it first"
            ) from None
        except OSError as error:
            raise self._cannot_write(name, error) from None
        try:
            yield lease
        finally:
            lease.release()

    def stored_config(self, name: str) -> TrainConfig:
        """The config of a run that was begun. UserError if it cannot be read."""
        path = self.folder(name) / "config.yaml"
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("it has no keys")
            return from_dict(content)
        except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException, UserError) as error:
            raise UserError(
                f"{path} is damaged ({first_line(error)}); delete the folder {path.parent}"
            ) from None

    def begin(self, name: str, cfg: TrainConfig, fingerprint: str) -> Path:
        """Mark a run as begun and store its config; returns its folder.

        Call it to start a run and to resume it. Checkpoints are deleted if they were written
        without measurements that `cfg` asks for.

        Raises:
            UserError: if the folder cannot be written, or its config has another identity.
        """
        folder = self.folder(name)
        try:
            if self.begun(name):
                begun = self.stored_config(name)
                self._check_unchanged(
                    name, identity(begun, fingerprint), identity(cfg, fingerprint)
                )
                if not has_measurements(begun.diagnostics.every, cfg.diagnostics.every):
                    shutil.rmtree(self.checkpoint_folder(name), ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            # First, because run.json marks records as complete that are overwritten from now on.
            (folder / "run.json").unlink(missing_ok=True)
            write_text(OmegaConf.to_yaml(OmegaConf.create(asdict(cfg))), folder / "config.yaml")
        except OSError as error:
            raise self._cannot_write(name, error) from None
        return folder

    def checkpoint_folder(self, name: str) -> Path:
        """The folder of a run's checkpoints (clr.training.checkpoint)."""
        return self.folder(name) / "checkpoints"

    def finish(self, name: str, content: dict[str, Any]) -> None:
        """Mark a run as completed: write its run.json and delete what only resuming needs."""
        folder = self.folder(name)
        write_text(encode_record(content, indent=1), folder / "run.json")
        (folder / PROGRESS_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.checkpoint_folder(name), ignore_errors=True)

    def _check_unchanged(self, name: str, begun: dict[str, Any], wanted: dict[str, Any]) -> None:
        changes = [
            f"{key} was {begun[key]}, is {wanted[key]}"
            for key in begun
            if begun[key] != wanted[key]
        ]
        if changes:
            folder = self.folder(name)
            raise UserError(
                f"{folder / 'config.yaml'} was changed since the run began "
                f"({'; '.join(changes)}); delete the folder {folder}"
            )

    def _cannot_write(self, name: str, error: OSError) -> UserError:
        return UserError(
            f"cannot write the run's folder {self.folder(name)}: {error.strerror}; "
            "choose another store=…"
        )

    def _warn(self, path: Path, message: str) -> None:
        """Print a warning once for each path: a sweep asks for the status of a run repeatedly."""
        if path not in self._warned:
            self._warned.add(path)
            print(f"warning: {message}", file=sys.stderr, flush=True)

    @staticmethod
    def _blocking_file(path: Path) -> Path:
        """The part of `path` that is a file where a folder is needed."""
        files = (parent for parent in path.parents if parent.exists() and not parent.is_dir())
        return next(files, path.parent)
