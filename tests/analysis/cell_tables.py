"""Tables of a protocol with several tasks on the same data, model and batch size."""

import json

import pandas as pd
from claim_tables import SEEDS, Setting, run_row, step_rows


def write_cells(folder, cells, missing=()):
    """Write one task per cell.

    Args:
        cells: by title: losses by seed of each (optimizer, rate); None marks divergence.
        missing: run ids that figures need and runs.csv lacks.
    """
    runs, steps, needed = [], [], []
    for task, curves in enumerate(cells.values()):
        for (optimizer, rate), by_seed in curves.items():
            for seed, losses in by_seed.items():
                run = run_row(optimizer, rate, seed, losses, Setting())
                # The readable part of the id is the same in every cell; so are the columns.
                run["run_id"] = run_id(task, optimizer, rate, seed)
                run |= {"seconds": 1.0}
                needed.append(("cells", f"task{task}", run["run_id"]))
                runs.append(run)
                steps += step_rows(run["run_id"], rate, losses, Setting())
    folder.mkdir(parents=True, exist_ok=True)
    completed = pd.DataFrame([run for run in runs if run["run_id"] not in missing])
    completed = completed.astype({"learning_rate": float, "max_lr": float})
    completed.to_csv(folder / "runs.csv", index=False)
    columns = ["run_id", "step", "epoch", "loss", "learning_rate"]
    pd.DataFrame(steps, columns=columns).to_parquet(folder / "steps.parquet")
    epochs = [(run["run_id"], epoch, 0.5) for run in runs for epoch in range(1, run["epochs"] + 1)]
    columns = ["run_id", "epoch", "test_accuracy"]
    pd.DataFrame(epochs, columns=columns).to_parquet(folder / "epochs.parquet")
    columns = ["figure", "task", "run_id"]
    pd.DataFrame(needed, columns=columns).to_csv(folder / "figure_runs.csv", index=False)
    protocol = {
        "name": folder.name,
        "title": "written by a test",
        "scaled": False,
        "seeds": list(SEEDS),
        "tasks": {f"task{i}": {"title": title} for i, title in enumerate(cells)},
    }
    (folder / "protocol.json").write_text(json.dumps(protocol))
    return folder


def run_id(task, optimizer, rate, seed):
    return f"cifar10-resnet18-b64-{optimizer}{'' if rate is None else f'{rate:g}'}-s{seed}-{task}"
