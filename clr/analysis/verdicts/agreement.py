"""Agreement of the curves of two results folders within the spread over their seeds."""

from __future__ import annotations

import io
import math
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from clr.analysis.ratios import Numbers
from clr.analysis.verdicts.baselines import spread
from clr.analysis.verdicts.evidence import Records, Run
from clr.analysis.verdicts.rules import Agreement

SCOPE = ["dataset", "model", "batch_size", "setting"]
_KEY = [*SCOPE, "optimizer", "learning_rate"]
_GIT_SECONDS = 60


class Outcome(StrEnum):
    """Result of the comparison of one curve; the values are what the table stores."""

    AGREE = "agree"
    DIFFER = "differ"
    UNDECIDED = "undecided"
    """One seed on either side has no spread, or a run has no finite loss."""


class NothingCommitted(Exception):
    """Git has no committed results to compare with; the message gives the reason."""


def compare(mine: Records, theirs: Records, rule: Agreement) -> pd.DataFrame:
    """Compare each curve (the columns of SCOPE, optimizer, rate) that both folders have.

    The steps that all runs of a curve have are cut into equal windows, and the logarithm of the
    mean loss in each window is compared. A window agrees if Student's t test of equal means, with
    the variance over the seeds pooled over both folders, gives p ≥ `rule.chance`. A curve agrees if
    the fraction `rule.share` of its windows does, and runs diverged in both folders or in neither.
    Identical runs agree; other curves with a single seed on one side are undecided.

    Returns:
        The table `agreement` of results/DICTIONARY.md.
    """
    others = _curves(theirs)
    rows = []
    for key, runs in _curves(mine).items():
        if key in others:
            rows.append(dict(zip(_KEY, key, strict=True)) | _compare(runs, others[key], rule))
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*_KEY, "agreement"])
    return table.astype({"learning_rate": float})


def summary(table: pd.DataFrame, other: str) -> str:
    """Sentence such as "agrees with the committed results in 9 of 10 curves (9 identical)"."""
    if table.empty:
        return f"has no curve in common with {other}"
    agreeing = int((table["agreement"] == Outcome.AGREE).sum())
    identical = int(table["identical"].sum())
    undecided = int((table["agreement"] == Outcome.UNDECIDED).sum())
    notes = []
    if identical:
        notes.append(f"{identical} identical")
    if undecided:
        notes.append(f"{undecided} undecided: too few seeds to know the spread")
    text = f"agrees with {other} in {agreeing} of {len(table)} curves"
    return f"{text} ({'; '.join(notes)})" if notes else text


@contextmanager
def committed(folder: Path) -> Iterator[Path]:
    """Temporary copy of `folder` as it is in git's HEAD, without uncommitted changes.

    Raises:
        NothingCommitted: if HEAD has no such folder, or git is missing or refuses the repository.
    """
    command = ["git", "archive", "HEAD", "."]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NothingCommitted(f"git cannot be run ({error})") from None
    if done.returncode:
        message = " ".join(done.stderr.decode(errors="replace").split())
        if "dubious ownership" in message:
            raise NothingCommitted(f"git refuses the repository: {message}")
        raise NothingCommitted(f"nothing is committed in {folder}")
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / folder.resolve().name
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(copy, filter="data")
        yield copy


def _curves(records: Records) -> dict[tuple[Any, ...], list[Run]]:
    """Runs of each curve, by the columns _KEY; the rate is None if the optimizer sets its own."""
    return {
        (scope.dataset, scope.model, scope.batch_size, scope.setting, *key): runs
        for scope in records.scopes
        for key, runs in scope.curves().items()
    }


def _compare(mine: list[Run], theirs: list[Run], rule: Agreement) -> dict[str, Any]:
    """Columns of one curve."""
    my_losses, their_losses = _log_losses(mine, theirs, rule.windows)
    distance = np.abs(my_losses.mean(axis=0) - their_losses.mean(axis=0))
    allowed = _allowed_distance(my_losses, their_losses, rule.chance)
    within = distance <= allowed
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = distance / allowed
    identical = _identical(mine, theirs)
    same_fate = any(run.diverged for run in mine) == any(run.diverged for run in theirs)
    if identical:
        outcome = Outcome.AGREE
    elif min(len(mine), len(theirs)) == 1:
        outcome = Outcome.UNDECIDED
    elif not same_fate:
        outcome = Outcome.DIFFER
    elif not len(within):
        outcome = Outcome.UNDECIDED
    else:
        outcome = Outcome.AGREE if within.mean() >= rule.share else Outcome.DIFFER
    return {
        "seeds": len(mine),
        "other_seeds": len(theirs),
        "same_runs": len({run.run_id for run in mine} & {run.run_id for run in theirs}),
        "identical": identical,
        "diverged": sum(run.diverged for run in mine),
        "other_diverged": sum(run.diverged for run in theirs),
        "windows": len(distance),
        "windows_within": int(within.sum()),
        "apart_over_allowed": math.nan
        if identical or np.isnan(shares).all()
        else np.nanmax(shares),
        **spread("final_loss", [run.final_loss for run in mine]),
        **spread("other_final_loss", [run.final_loss for run in theirs]),
        **spread("final_accuracy", [run.accuracy for run in mine]),
        **spread("other_final_accuracy", [run.accuracy for run in theirs]),
        "agreement": outcome.value,
    }


def _allowed_distance(mine: Numbers, theirs: Numbers, chance: float) -> Numbers:
    """Largest difference of two means at which Student's t test gives p ≥ `chance`, by window.

    `mine` and `theirs` have the shape [runs, windows]. nan if both have one run.
    """
    freedom = len(mine) + len(theirs) - 2
    if freedom == 0:
        return np.full(mine.shape[1], np.nan)
    squares = sum(((runs - runs.mean(axis=0)) ** 2).sum(axis=0) for runs in (mine, theirs))
    error: Numbers = np.sqrt(squares / freedom * (1 / len(mine) + 1 / len(theirs)))
    return error * -float(stdtrit(freedom, chance / 2))  # a quantile of Student's t


def _identical(mine: list[Run], theirs: list[Run]) -> bool:
    """Return whether both have the same runs, with bitwise equal losses."""
    their_runs = {run.run_id: run for run in theirs}
    if {run.run_id for run in mine} != set(their_runs):
        return False
    return all(
        np.array_equal(run.loss, their_runs[run.run_id].loss, equal_nan=True) for run in mine
    )


def _log_losses(mine: list[Run], theirs: list[Run], windows: int) -> tuple[Numbers, Numbers]:
    """Logarithm of the mean loss by run and window, over the steps that all runs have.

    Two arrays of the shape [runs, windows]; without windows if a run has no finite loss.
    """
    steps = min(int(np.isfinite(run.loss).sum()) for run in (*mine, *theirs))
    parts = np.array_split(np.arange(steps), min(windows, steps)) if steps else []
    means = (
        np.array([[run.loss[part].mean() for part in parts] for run in runs])
        for runs in (mine, theirs)
    )
    my_losses, their_losses = (np.log(np.maximum(mean, np.finfo(float).tiny)) for mean in means)
    return my_losses, their_losses
