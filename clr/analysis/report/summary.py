"""What the report tells in words and numbers: the verdicts, the sweep, what was assumed, what the runs stood on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt

from clr.analysis.baseline import best_fixed_rate, diverged
from clr.analysis.names import display_name
from clr.analysis.verdicts import Verdict
from clr.config import CONFIGS
from clr.errors import UserError
from clr.runs.command import command

ASSUMPTIONS = CONFIGS.parent / "docs" / "assumptions.md"


@dataclass(frozen=True)
class Spread:
    """A number over the seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Configuration:
    """The runs of a sweep that differ in their seeds alone."""

    data: str
    model: str
    batch_size: int
    optimizer: str
    rate: float | None  # None where the optimizer sets its own
    best: bool  # the best fixed rate, which CLR is compared with
    seeds: int
    diverged: int  # seeds
    loss: Spread | None  # None if all seeds diverged
    accuracy: Spread | None
    seconds: float  # mean


@dataclass(frozen=True)
class Compared:
    """A curve of these results and the same one of others."""

    data: str
    model: str
    batch_size: int
    optimizer: str
    rate: float | None
    loss: Spread  # final
    other_loss: Spread
    windows_within: int  # parts of training in which they lie within the spread over the seeds
    windows: int
    agreement: str


def verdicts(folder: Path) -> list[dict[str, str]]:
    """The rows of claims.csv, with their models as people call them."""
    path = folder / "claims.csv"
    if not path.is_file():
        raise UserError(
            f"{path} is missing; make it with: .venv/bin/python scripts/claims.py {folder}"
        )
    rows: list[dict[str, str]] = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict(
        "records"
    )  # type: ignore[assignment]
    unknown = [row["verdict"] for row in rows if row["verdict"] not in set(Verdict)]
    if unknown:
        raise UserError(
            f"{path} has the verdict {unknown[0]!r}, which is none of: {', '.join(Verdict)}"
        )
    return [{**row, "model": display_name(row["model"])} for row in rows]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and what became of it in each scope: one data set, one model, one batch size."""

    name: str
    rule: str  # that of all rows; empty if they have several
    statistic: str  # likewise
    rows: list[dict[str, str]]


def by_claim(rows: list[dict[str, str]]) -> list[Claim]:
    """The rows of each claim."""
    claims: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        claims.setdefault(row["claim"], []).append(row)
    return [
        Claim(name, _shared(of, "rule"), _shared(of, "statistic"), of)
        for name, of in claims.items()
    ]


def _shared(rows: list[dict[str, str]], column: str) -> str:
    """The value that all rows have which have one."""
    values = {row[column] for row in rows if row[column]}
    return values.pop() if len(values) == 1 else ""


def by_scope(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """The verdict of each claim in each scope; a claim about a figure without runs has that figure for a scope."""
    scopes: dict[str, dict[str, str]] = {}
    for row in rows:
        name = " · ".join(
            filter(
                None,
                (
                    row["data"],
                    row["model"],
                    row["batch_size"] and f"batch size {row['batch_size']}",
                ),
            )
        )
        scopes.setdefault(name or f"Figure {row['figure']}", {})[row["claim"]] = row["verdict"]
    # Those that have runs first.
    return dict(sorted(scopes.items(), key=lambda scope: scope[0].startswith("Figure ")))


def configurations(runs: pd.DataFrame) -> list[Configuration]:
    """The sweep: one row for all seeds of a configuration, of the rows of runs.csv."""
    rows = []
    for _, panel in runs.groupby(["dataset", "data_label", "model", "batch_size"]):
        for optimizer, own in panel.groupby("optimizer"):
            fixed = own[own["learning_rate"].notna()]
            best = best_fixed_rate(fixed) if len(fixed) else None
            for rate, seeds in own.groupby("learning_rate", dropna=False):
                survived = seeds[~diverged(seeds)]
                first = seeds.iloc[0]
                rows.append(
                    Configuration(
                        data=first["data_label"],
                        model=display_name(first["model"]),
                        batch_size=int(first["batch_size"]),
                        optimizer=display_name(optimizer),
                        rate=None if pd.isna(rate) else float(rate),  # type: ignore[arg-type]
                        best=best is not None and rate == best.learning_rate,
                        seeds=len(seeds),
                        diverged=len(seeds) - len(survived),
                        loss=_spread(survived["final_train_loss"]),
                        accuracy=_spread(100 * survived["final_test_accuracy"]),
                        seconds=float(seeds["seconds"].mean()),
                    )
                )
    return rows


def _spread(values: pd.Series) -> Spread | None:
    return Spread(values.mean(), values.min(), values.max()) if len(values) else None


def compared(folder: Path) -> list[Compared]:
    """What scripts/compare.py found, if it was called."""
    path = folder / "comparison" / "agreement.csv"
    if not path.is_file():
        return []
    return [
        Compared(
            data=row["dataset"],
            model=display_name(row["model"]),
            batch_size=row["batch_size"],
            optimizer=display_name(row["optimizer"]),
            rate=None if pd.isna(row["learning_rate"]) else row["learning_rate"],
            loss=Spread(*(row[f"final_loss{end}"] for end in ("", "_low", "_high"))),
            other_loss=Spread(*(row[f"other_final_loss{end}"] for end in ("", "_low", "_high"))),
            windows_within=row["windows_within"],
            windows=row["windows"],
            agreement=f"{row['agreement']}, to the bit" if row["identical"] else row["agreement"],
        )
        for row in pd.read_csv(path).to_dict("records")
    ]


def assumptions() -> str:
    """The assumptions in docs/assumptions.md as HTML, without the page's heading."""
    if not ASSUMPTIONS.is_file():
        raise UserError(f"{ASSUMPTIONS} is missing; restore it with: git checkout {ASSUMPTIONS}")
    _, _, text = ASSUMPTIONS.read_text(encoding="utf-8").partition("\n")
    return str(MarkdownIt("commonmark").render(text.strip()))


def made(folder: Path) -> list[dict[str, Any]]:
    """Each run.json of the runs, with the `command` that repeats it."""
    path = folder / "runs.jsonl"
    if not path.is_file():
        raise UserError(
            f"{path} is missing; make it with: make reproduce PROTOCOL={folder.resolve().name}"
        )
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    return [{**run, "command": command(run["config"])} for run in runs]


def provenance(runs: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What the runs stood on: each fact with the values that it has among them, the most frequent first."""
    facts: dict[str, Counter[str]] = {}
    for run in runs:
        from_run, data = run["provenance"], run["data"]
        of_run = {
            "Revision of the code": from_run["revision"],
            "Data, by SHA-256": f"{data['label']}: {data['fingerprint']}",
            "Hardware": from_run["hardware"],
            "Device": f"{run['device']}, {from_run['threads']} threads",
            "Platform": f"{from_run['platform']}, Python {from_run['python']}",
            "Libraries": ", ".join(
                f"{name} {version}" for name, version in from_run["libraries"].items()
            ),
        }
        for fact, value in of_run.items():
            facts.setdefault(fact, Counter())[value] += 1
    return {
        fact: [
            f"{value} ({n} runs)" if len(values) > 1 else value for value, n in values.most_common()
        ]
        for fact, values in facts.items()
    }


def whole_command(folder: Path, runs: list[dict[str, Any]]) -> str:
    """The command that makes all of a protocol's results."""
    sources = {run["config"]["dataset"]["source"] for run in runs}
    paths = [
        f"{source.upper()}=/folder/of/{source}"
        for source in ("cifar10", "imagenet")
        if source in sources
    ]
    return " ".join(["make", "reproduce", f"PROTOCOL={folder.resolve().name}", *paths])
