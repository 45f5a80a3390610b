"""Tables of a protocol with several tasks on the same data, model and batch size."""

import pandas as pd
from claim_tables import Setting, run_row, step_rows, write_tables


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
    needed = pd.DataFrame(needed, columns=["figure", "task", "run_id"])
    tasks = {f"task{i}": {"title": title} for i, title in enumerate(cells)}
    protocol = {"name": folder.name, "scaled": False, "tasks": tasks}
    return write_tables(folder, runs, steps, needed, protocol, missing)


def run_id(task, optimizer, rate, seed):
    return f"cifar10-resnet18-b64-{optimizer}{'' if rate is None else f'{rate:g}'}-s{seed}-{task}"
