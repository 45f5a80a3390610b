"""Whether the curves of two folders of results agree within the spread over their seeds."""

from __future__ import annotations

import io
import math
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clr.analysis.verdicts.baselines import spread
from clr.analysis.verdicts.evidence import Numbers, Records, Run
from clr.analysis.verdicts.rules import Agreement

SCOPE = ["dataset", "model", "batch_size"]
AGREE, DIFFER, UNKNOWN = "agree", "differ", "cannot be told"


def compare(mine: Records, theirs: Records, rule: Agreement) -> pd.DataFrame:
    """A row for each curve (data set, model, batch size, optimizer, rate) that both have.

    The steps that all its runs have are cut into equal windows, and of each a run has the logarithm of its mean loss. A
    window agrees if the means over the seeds differ by at most `spread` times the mean of the two ranges over the
    seeds, and a curve if `share` of its windows do, and if runs diverged in both or in neither. Runs that are equal to
    the bit agree; otherwise one seed has no range, and it cannot be told.
    """
    other = _curves(theirs)
    rows = [
        {
            **dict(zip([*SCOPE, "optimizer"], key[:4], strict=True)),
            "learning_rate": key[4],
            **_pair(runs, other[key], rule),
        }
        for key, runs in _curves(mine).items()
        if key in other
    ]
    columns = [*SCOPE, "optimizer", "learning_rate", "agreement"]
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    return table.astype({"learning_rate": float})


def summary(table: pd.DataFrame, other: str) -> str:
    """One line, such as: agrees with the committed results in 9 of 10 curves (digits: 9 of 10)."""
    if table.empty:
        return f"shares no curve with {other}"
    agree = int((table["agreement"] == AGREE).sum())
    same = int(table["identical"].sum())
    unknown = int((table["agreement"] == UNKNOWN).sum())
    notes = [f"{same} to the bit"] * bool(same) + [
        f"{unknown} cannot be told, as one seed has no spread"
    ] * bool(unknown)
    return f"agrees with {other} in {agree} of {len(table)} curves" + (
        f" ({'; '.join(notes)})" if notes else ""
    )


@contextmanager
def committed(folder: Path) -> Iterator[Path | None]:
    """A copy of what git's HEAD has of `folder`, while the context lasts; None where it has nothing, or without git."""
    try:
        tar = subprocess.run(
            ["git", "archive", "HEAD", "."], cwd=folder, capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    with tempfile.TemporaryDirectory() as where:
        copy = Path(where) / folder.resolve().name
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            archive.extractall(copy, filter="data")
        yield copy


def _curves(records: Records) -> dict[tuple[Any, ...], list[Run]]:
    found = {}
    for scope in records.scopes:
        for (optimizer, rate), table in scope.table.groupby(
            ["optimizer", "learning_rate"], dropna=False
        ):
            # None, for nan is not equal to itself.
            fixed = None if pd.isna(rate) else rate  # type: ignore[call-overload]
            found[(scope.dataset, scope.model, scope.batch_size, optimizer, fixed)] = [
                scope.runs[name] for name in table["run_id"]
            ]
    return found


def _pair(mine: list[Run], theirs: list[Run], rule: Agreement) -> dict[str, Any]:
    ours, others = _log_losses(mine, theirs, rule.windows)
    apart = np.abs(ours.mean(axis=0) - others.mean(axis=0))
    width = (np.ptp(ours, axis=0) + np.ptp(others, axis=0)) / 2
    within = apart <= rule.spread * width
    of_theirs = {run.run_id: run for run in theirs}
    same = [run for run in mine if run.run_id in of_theirs]
    identical = len(same) == len(mine) == len(theirs) and all(
        np.array_equal(run.loss, of_theirs[run.run_id].loss, equal_nan=True) for run in same
    )
    fates = [any(run.diverged for run in runs) for runs in (mine, theirs)]
    if identical:
        agreement = AGREE
    elif min(len(mine), len(theirs)) == 1:
        agreement = UNKNOWN
    else:
        agreement = AGREE if within.mean() >= rule.share and fates[0] == fates[1] else DIFFER
    with np.errstate(divide="ignore", invalid="ignore"):
        widths = apart / width
    return {
        "seeds": len(mine),
        "other_seeds": len(theirs),
        "same_runs": len(same),
        "identical": identical,
        "diverged": sum(run.diverged for run in mine),
        "other_diverged": sum(run.diverged for run in theirs),
        "windows": len(apart),
        "windows_within": int(within.sum()),
        "apart_over_spread": float(np.nanmax(widths)) if not np.isnan(widths).all() else math.nan,
        **spread("final_loss", [run.final_loss for run in mine]),
        **spread("other_final_loss", [run.final_loss for run in theirs]),
        **spread("final_accuracy", [run.accuracy for run in mine]),
        **spread("other_final_accuracy", [run.accuracy for run in theirs]),
        "agreement": agreement,
    }


def _log_losses(mine: list[Run], theirs: list[Run], windows: int) -> tuple[Numbers, Numbers]:
    """Of the runs of each: [runs, windows], the logarithm of the mean loss, over the steps that all of them have."""
    finite = min(int(np.isfinite(run.loss).sum()) for run in (*mine, *theirs))
    parts = np.array_split(np.arange(finite), min(windows, finite))
    mean = [[[run.loss[part].mean() for part in parts] for run in runs] for runs in (mine, theirs)]
    ours, others = (np.log(np.maximum(values, np.finfo(float).tiny)) for values in mean)
    return ours, others
