"""A protocol's tables with numbers that can be worked out by hand, and what a drawing of them shows."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb

from clr.analysis import tables
from clr.analysis.figures import draw as figures

ROOT = Path(__file__).resolve().parents[1]

SEEDS, EPOCHS, STEPS_PER_EPOCH = (0, 1, 2), 3, 2
# Seeds multiply the loss by 1, 2 and 6, so their mean is 3 times that of seed 0, from 1 to 6 times
FACTOR = {0: 1.0, 1: 2.0, 2: 6.0}
HALVES = {None: 0.4, 0.01: 0.9, 0.1: 0.5, 0.3: 0.6}  # what a step leaves of the loss
ACCURACY = {0: 0.2, 1: 0.3, 2: 0.7}


def loss(rate, seed, step):
    return FACTOR[seed] * HALVES[rate] ** (step - 1)


MEASURES = ["loss", "learning_rate", "kappa", "turn", "correction", "fall"]


def measures(rate, seed, step):
    """κ is lowest at step 3, and the fall the farther from 1 the larger the rate."""
    kappa = FACTOR[seed] * (2 + abs(step - 3)) * (1 if rate is None else 10 * rate)
    return (
        FACTOR[seed] / step,
        rate or 0.2,
        kappa,
        kappa / 2,
        kappa / 4,
        1 - FACTOR[seed] * (rate or 0.2),
    )


def write(
    folder, batch_sizes=(64, 256), rates=(None, 0.01, 0.1, 0.3, 1.0), epochs=EPOCHS, scaled=True
):
    """A protocol's tables: CLR and a sweep whose rate 1 diverges at step 2 + seed."""
    runs, steps, done, named, meter = [], [], [], [], []
    for batch_size in batch_sizes:
        for rate in rates:
            for seed in SEEDS:
                run_id = f"{batch_size}{0 if rate is None else int(rate * 1000)}{seed}"  # looks like a number
                diverged = rate == 1.0
                total = 2 + seed if diverged else epochs * STEPS_PER_EPOCH
                for step in range(1, total + 1):
                    value = 3.0**step if diverged else loss(rate, seed, step)
                    if diverged and step == total:
                        value = math.inf
                    used = FACTOR[seed] * 0.01 * step if rate is None else rate
                    steps.append((run_id, step, (step - 1) // STEPS_PER_EPOCH, value, used))
                if batch_size == batch_sizes[0]:
                    meter += [
                        (run_id, step, *measures(rate, seed, step))
                        for step in range(1, total + 1, 2)
                    ]
                if not diverged:
                    done += [
                        (run_id, epoch, ACCURACY[seed] * epoch / epochs)
                        for epoch in range(1, epochs + 1)
                    ]
                last = [row[3] for row in steps if row[0] == run_id and row[2] == epochs - 1]
                runs.append(
                    {
                        "run_id": run_id,
                        "dataset": "cifar10-5k",
                        "data_label": "CIFAR-10, 5,000 images",
                        "num_train": STEPS_PER_EPOCH * batch_size
                        + 7,  # 7 are left out of each epoch
                        "model": "resnet18",
                        "optimizer": "clr" if rate is None else "sgd",
                        "learning_rate": rate,
                        "max_lr": None,
                        "batch_size": batch_size,
                        "seed": seed,
                        "epochs": epochs,
                        "status": "diverged" if diverged else "finished",
                        "final_train_loss": math.nan if diverged else np.mean(last),
                        "precision": "fp32",
                    }
                )
                headline = batch_size == batch_sizes[0]
                of_figures = [6, 8, *([2, 4, 7, "corridor_meter"] if headline else [])]
                if rate is None:
                    of_figures += [3, 9, *([5] if headline else [])]
                named += [(number, run_id) for number in of_figures]
    folder.mkdir(parents=True, exist_ok=True)
    protocol = {"name": "quick", "title": "for a laptop", "scaled": scaled, "seeds": list(SEEDS)}
    (folder / "protocol.json").write_text(json.dumps(protocol))
    pd.DataFrame(runs).to_csv(folder / "runs.csv", index=False)
    columns = ["run_id", "step", "epoch", "loss", "learning_rate"]
    pd.DataFrame(steps, columns=columns).to_parquet(folder / "steps.parquet")
    pd.DataFrame(meter, columns=["run_id", "step", *MEASURES]).to_parquet(
        folder / "corridor_meter.parquet"
    )
    pd.DataFrame(done, columns=["run_id", "epoch", "test_accuracy"]).to_parquet(
        folder / "epochs.parquet"
    )
    pd.DataFrame(named, columns=["figure", "run_id"]).to_csv(
        folder / "figure_runs.csv", index=False
    )
    return folder


def edit_runs(folder, rows, **values):
    """Change columns of those rows of runs.csv that `rows` (of the table) is true for."""
    runs = pd.read_csv(folder / "runs.csv", dtype={"run_id": str})
    runs.loc[rows(runs), list(values)] = list(values.values())
    runs.to_csv(folder / "runs.csv", index=False)


def drawing(folder, number):
    return figures.DRAW[str(number)](tables.read(folder)[str(number)])


def line(ax, label):
    (found,) = [x for x in ax.lines if x.get_label() == label]
    return found


def band(ax, i):
    """The lower and upper edge of the i-th band, at each x: fill_between walks up one edge and down the other."""
    vertices = ax.collections[i].get_paths()[0].vertices[:-1]
    edges = pd.DataFrame(vertices, columns=["x", "y"]).groupby("x")["y"]
    return edges.min().to_numpy(), edges.max().to_numpy()


def texts(figure):
    """All text but that of legends, on one line."""
    return " ".join(" ".join(t.get_text() for t in (figure._suptitle, figure._supxlabel)).split())


def legend(ax):
    return [t.get_text() for t in ax.get_legend().get_texts()]


def luminance(drawn):
    """How light a line is in grey, from 0 to 1."""
    return float(np.dot(to_rgb(drawn.get_color()), (0.299, 0.587, 0.114)))
