"""Tables of an arena with given losses, one step per epoch, so that results follow by hand."""

import json

import pandas as pd
from claim_tables import Setting, run_row, step_rows, write_tables

SGD_GRID = {"key": "lr", "values": [0.1, 0.3, 1.0], "default": 0.1}


def write_arena(folder, methods, grids=None, missing=()):
    """Write one setting for each batch size.

    Args:
        methods: by batch size and optimizer: losses by value and seed; None as a loss is
            divergence, None as a value a method without tuning.
        grids: by optimizer: as `methods` of protocol.json; {} for other methods, SGD has SGD_GRID.
        missing: run ids that the arena needs and runs.csv lacks.
    """
    runs, steps = [], []
    for batch_size, own in methods.items():
        for optimizer, curves in own.items():
            grid = {"sgd": SGD_GRID, **(grids or {})}.get(optimizer, {})
            for value, by_seed in curves.items():
                for seed, losses in by_seed.items():
                    run = run_row(optimizer, None, seed, losses, Setting())
                    arguments = {grid["key"]: value} if grid else {}
                    run["run_id"] = run_id(batch_size, optimizer, value, seed)
                    run |= {"arguments": json.dumps(arguments), "batch_size": batch_size}
                    run |= {"num_train": batch_size, "learning_rate": arguments.get("lr")}
                    runs.append(run)
                    steps += step_rows(run["run_id"], value, losses, Setting())
    needed = [("arena", "arena", run["run_id"]) for run in runs]
    needed = pd.DataFrame(needed, columns=["figure", "task", "run_id"])
    names = {name for own in methods.values() for name in own}
    every = {name: {"sgd": SGD_GRID, **(grids or {})}.get(name, {}) for name in sorted(names)}
    protocol = {"name": folder.name, "scaled": True, "methods": every, "tasks": {"arena": {}}}
    write_tables(folder, runs, steps, needed, protocol, missing)
    for name, column in (("steps", "step"), ("epochs", "epoch")):
        table = pd.read_parquet(folder / f"{name}.parquet")
        delay = 1 + table["run_id"].str.extract(r"-s(\d)-", expand=False).astype(int)
        table = table.assign(seconds=0.5 * table[column] * delay, step=table[column])
        table.to_parquet(folder / f"{name}.parquet")
    return folder


def run_id(batch_size, optimizer, value, seed):
    return f"cifar10-resnet18-b{batch_size}-{optimizer}-s{seed}-{value}"


def ending(*losses):
    """Losses by seed of runs of two steps: the first is 4, the last is given; None diverges."""
    return {seed: [4.0, loss] for seed, loss in enumerate(losses)}
