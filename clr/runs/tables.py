"""Tidy tables of a protocol's runs under `results/PROTOCOL/`: what the figures are drawn from, and what is committed.

runs           one row a run: what it was and how it ended
steps          run_id and the columns of the runs' steps.parquet
epochs         run_id and the columns of the runs' epochs.parquet
meter          run_id and the columns of the runs' corridor_meter.parquet, of those with diagnostics.every
figure_runs    figure, run_id: which runs each figure needs, also those that are still missing
protocol.json  the protocol's config
runs.jsonl     each run's run.json: config (without local folders), data, provenance

Each table is there as NAME.parquet and NAME.csv; steps, by far the largest, as steps.csv.gz. results/DICTIONARY.md says
what their columns mean.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd

from clr.config import from_dict
from clr.errors import UserError
from clr.files import to_json, write_bytes, write_parquet, write_text
from clr.runs.store import Store
from clr.training.recorder import EPOCH_COLUMNS, METER_COLUMNS, STEP_COLUMNS

# None in a run whose optimizer has no such key; without any, a column would else have no type.
_NUMBERS = ("learning_rate", "max_lr")


def export(
    store: Store, figures: dict[str, set[str]], protocol: dict[str, Any], folder: Path
) -> None:
    """Write the tables of the finished ones among the runs that are the keys of `figures`."""
    folder.mkdir(parents=True, exist_ok=True)
    finished = {name: run for name in figures if (run := store.finished(name)) is not None}
    for table, columns in (
        ("steps", STEP_COLUMNS),
        ("epochs", EPOCH_COLUMNS),
        ("corridor_meter", METER_COLUMNS),
    ):
        parts = [
            # Runs that were made before a column existed lack it.
            pd.read_parquet(store.folder(name) / f"{table}.parquet")
            .assign(run_id=name)
            .reindex(columns=["run_id", *columns])
            for name, run in finished.items()
            if table != "corridor_meter" or run["config"].get("diagnostics", {}).get("every")
        ]
        whole = (
            pd.concat(parts, ignore_index=True)
            if parts
            else pd.DataFrame(columns=["run_id", *columns])
        )
        write_table(whole, folder, table)
    runs = pd.DataFrame([row(run) for run in finished.values()])
    write_table(runs.astype({name: float for name in _NUMBERS if name in runs}), folder, "runs")
    pairs = [(str(figure), name) for name, of in figures.items() for figure in sorted(of)]
    named = pd.DataFrame(pairs, columns=["figure", "run_id"]).sort_values("figure", kind="stable")
    write_table(named, folder, "figure_runs")
    write_text(json.dumps(protocol, indent=1) + "\n", folder / "protocol.json")
    write_text(
        "".join(to_json(_portable(run)) + "\n" for run in finished.values()),
        folder / "runs.jsonl",
    )


def write_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write `folder`/`name`.parquet and the same as CSV, each all or nothing, and the same bytes for the same table."""
    write_parquet(table, folder / f"{name}.parquet")
    text = table.to_csv(index=False)
    if name == "steps":
        write_bytes(gzip.compress(text.encode(), mtime=0), folder / f"{name}.csv.gz")
    else:
        write_text(text, folder / f"{name}.csv")


def _portable(run: dict[str, Any]) -> dict[str, Any]:
    """The run without where things lay on the machine that made it."""
    config = {
        key: value for key, value in run["config"].items() if key not in ("data_dir", "store")
    }
    return {**run, "config": {**config, "dataset": {**config["dataset"], "path": None}}}


def row(run: dict[str, Any]) -> dict[str, Any]:
    """The run's row of the table `runs`, from its run.json."""
    config, from_run = run["config"], run["provenance"]
    return {
        "run_id": run["run_id"],
        "dataset": config["dataset"]["name"],
        "data_label": run["data"]["label"],
        "num_train": run["data"]["num_train"],
        "model": config["model"]["name"],
        "optimizer": config["optimizer"]["name"],
        "learning_rate": config["optimizer"].get("lr"),
        "max_lr": config["optimizer"].get("max_lr"),
        "batch_size": config["batch_size"],
        "seed": config["seed"],
        "epochs": config["epochs"],
        "precision": config["precision"],
        "status": run["status"],
        **run["summary"],
        "device": run["device"],
        "hardware": from_run["hardware"],
        "revision": from_run["revision"],
        "torch": from_run["libraries"]["torch"],
        "data_fingerprint": run["data"]["fingerprint"],
    }


def import_runs(folder: Path, store: Store) -> int:
    """Put the runs of committed tables into a store, those it has already left alone; how many were put."""
    try:
        runs = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
        tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("steps", "epochs")}
        if (
            folder / "corridor_meter.parquet"
        ).is_file():  # not in tables from before there was a meter
            tables["corridor_meter"] = pd.read_parquet(folder / "corridor_meter.parquet")
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot import from {folder}: {error}; it must hold the tables that sweep.py writes"
        ) from None
    missing = [run for run in runs if store.finished(run["run_id"]) is None]
    for run in missing:
        of_run = store.begin(run["run_id"], from_dict(run["config"]), run["data"]["fingerprint"])
        for name, table in tables.items():
            rows = table[table["run_id"] == run["run_id"]].drop(columns="run_id")
            if name != "corridor_meter" or len(rows):
                write_parquet(rows.reset_index(drop=True), of_run / f"{name}.parquet")
        store.finish(run["run_id"], run)
    return len(missing)
