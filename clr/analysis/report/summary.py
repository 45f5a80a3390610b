"""Tables and texts of the report: the sweep, the comparison, assumptions and provenance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt

from clr.analysis.baseline import best_fixed_rate, diverged
from clr.analysis.names import display_name
from clr.analysis.tables import reproduce_command
from clr.config import CONFIGS
from clr.errors import UserError, first_line
from clr.runs.command import command
from clr.runs.tables import Results, task_title

ASSUMPTIONS = CONFIGS.parent / "docs" / "assumptions.md"


@dataclass(frozen=True)
class Spread:
    """Mean and range of a number over the seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Configuration:
    """Runs of a sweep that differ only in their seeds."""

    data: str
    model: str
    batch_size: int
    setting: str  # title of the task; empty without one
    optimizer: str
    rate: float | None  # None if the optimizer sets its own
    best: bool  # whether it is the best fixed rate, the baseline
    seeds: int
    diverged: int  # number of diverged seeds
    loss: Spread | None  # final training loss; None if all seeds diverged
    accuracy: Spread | None  # test accuracy, percent; None if all seeds diverged
    seconds: float  # mean


@dataclass(frozen=True)
class Compared:
    """A curve of these results and the same curve of others."""

    data: str
    model: str
    batch_size: int
    setting: str
    optimizer: str
    rate: float | None
    loss: Spread  # final training loss
    other_loss: Spread
    windows_within: int  # windows of training in which the curves agree
    windows: int
    agreement: str


def configurations(results: Results) -> list[Configuration]:
    """One row of the sweep for each optimizer, rate, dataset, model, batch size and task.

    Diverged seeds are counted, and left out of the means.
    """
    panels = [
        (key, task_title(results.protocol, task), panel)
        for task, runs in results.by_task.items()
        for key, panel in runs.groupby(["dataset", "data_label", "model", "batch_size"])
    ]
    # Tasks keep the order of the protocol.
    panels.sort(key=lambda panel: panel[0])
    rows = []
    for _, setting, panel in panels:
        for optimizer, own in panel.groupby("optimizer"):
            fixed = own[own["learning_rate"].notna()]
            best = best_fixed_rate(fixed) if len(fixed) else None
            for rate, seeds in own.groupby("learning_rate", dropna=False):
                is_best = best is not None and rate == best.learning_rate
                rows.append(_configuration(setting, str(optimizer), rate, is_best, seeds))
    return rows


def _configuration(
    setting: str, optimizer: str, rate: Any, best: bool, seeds: pd.DataFrame
) -> Configuration:
    first, survived = seeds.iloc[0], seeds[~diverged(seeds)]
    return Configuration(
        data=first["data_label"],
        model=display_name(first["model"]),
        batch_size=int(first["batch_size"]),
        setting=setting,
        optimizer=display_name(optimizer),
        rate=None if pd.isna(rate) else float(rate),
        best=best,
        seeds=len(seeds),
        diverged=len(seeds) - len(survived),
        loss=_spread(survived["final_train_loss"]),
        accuracy=_spread(100 * survived["final_test_accuracy"]),
        seconds=float(seeds["seconds"].mean()),
    )


def _spread(values: pd.Series) -> Spread | None:
    values = values.dropna()
    return Spread(values.mean(), values.min(), values.max()) if len(values) else None


def compared(folder: Path) -> list[Compared]:
    """Rows of comparison/agreement.csv, empty if scripts/compare.py has not been run."""
    path = folder / "comparison" / "agreement.csv"
    if not path.is_file():
        return []
    # An empty cell is a missing number; a dataset may be named "null".
    text = {name: str for name in ("dataset", "model", "setting", "optimizer", "agreement")}
    numbers = ["learning_rate", *(f"{a}{b}" for a in _LOSSES for b in ("", "_low", "_high"))]
    try:
        table = pd.read_csv(
            path,
            dtype=text,
            keep_default_na=False,
            na_values={name: ["", "nan"] for name in numbers},
        )
        return [_compared(row) for row in table.to_dict("records")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"no column {error}" if isinstance(error, KeyError) else first_line(error)
        raise UserError(
            f"{path} is damaged: {problem}; create it again with: "
            f".venv/bin/python scripts/compare.py {folder}"
        ) from None


_LOSSES = ("final_loss", "other_final_loss")


def _compared(row: dict[Any, Any]) -> Compared:
    loss, other_loss = (
        Spread(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))) for name in _LOSSES
    )
    return Compared(
        data=row["dataset"],
        model=display_name(row["model"]),
        batch_size=row["batch_size"],
        setting=row["setting"],
        optimizer=display_name(row["optimizer"]),
        rate=None if pd.isna(row["learning_rate"]) else float(row["learning_rate"]),
        loss=loss,
        other_loss=other_loss,
        windows_within=row["windows_within"],
        windows=row["windows"],
        agreement="identical" if row["identical"] else row["agreement"],
    )


def assumptions() -> str:
    """docs/assumptions.md as HTML, without its heading."""
    if not ASSUMPTIONS.is_file():
        raise UserError(f"{ASSUMPTIONS} is missing; restore it with: git checkout {ASSUMPTIONS}")
    _, _, text = ASSUMPTIONS.read_text(encoding="utf-8").partition("\n")
    return str(MarkdownIt("commonmark").render(text.strip()))


def with_commands(folder: Path, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each run.json with the `command` that repeats the run."""
    try:
        return [{**record, "command": command(record["config"])} for record in records]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder / 'runs.jsonl'} is damaged: a config lacks {first_line(error)}; "
            f"create it again with: {reproduce_command(folder)}"
        ) from None


def provenance(records: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Provenance of the runs: the values of each fact, the most frequent first.

    A fact with several values counts the runs of each.
    """
    facts: dict[str, Counter[str]] = {}
    for record in records:
        for fact, value in _facts(record).items():
            facts.setdefault(fact, Counter())[value] += 1
    return {fact: _counted(values) for fact, values in facts.items()}


def _facts(record: dict[str, Any]) -> dict[str, str]:
    own, data = record["provenance"], record["data"]
    libraries = own.get("libraries", {})
    return {
        "Revision of the code": str(own.get("revision")),
        "Data, by SHA-256": f"{data['label']}: {data['fingerprint']}",
        "Hardware": str(own.get("hardware")),
        "Device": f"{record['device']}, {own.get('threads')} threads",
        "Platform": f"{own.get('platform')}, Python {own.get('python')}",
        "Libraries": ", ".join(f"{name} {version}" for name, version in libraries.items()),
    }


def _counted(values: Counter[str]) -> list[str]:
    if len(values) == 1:
        return list(values)
    return [f"{value} ({n} run{'s' * (n > 1)})" for value, n in values.most_common()]


def total_seconds(records: list[dict[str, Any]]) -> float:
    """Sum of the runs' times; a run without a recorded time counts as 0."""
    seconds = pd.Series([record["summary"].get("seconds") for record in records], dtype=float)
    return float(seconds.sum())


def whole_command(folder: Path, records: list[dict[str, Any]]) -> str:
    """Command that reproduces all results of a protocol."""
    sources = {record["config"]["dataset"]["source"] for record in records}
    paths = [
        f"{source.upper()}=/path/to/{source}"
        for source in ("cifar10", "imagenet")
        if source in sources
    ]
    return " ".join([reproduce_command(folder), *paths])
