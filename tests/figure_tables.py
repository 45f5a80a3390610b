"""Tables of a protocol with numbers that can be worked out by hand, and readers of figures."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb

from clr.analysis import tables
from clr.analysis.figures import draw, style
from clr.analysis.figures.panels import read_tag

ROOT = Path(__file__).resolve().parents[1]

SEEDS, EPOCHS, STEPS_PER_EPOCH = (0, 1, 2), 3, 2
# Seeds multiply the loss by 1, 2 and 6: the mean is 3 times the loss of seed 0, the range 1 to 6.
FACTOR = {0: 1.0, 1: 2.0, 2: 6.0}
DECAY = {None: 0.4, 0.01: 0.9, 0.1: 0.5, 0.3: 0.6}  # factor of the loss per step, by rate
DIVERGING = 1.0  # this rate diverges at step 2 + seed
ACCURACY = {0: 0.2, 1: 0.3, 2: 0.7}
MEASURES = ["loss", "learning_rate", "kappa", "turn", "correction", "fall"]


@dataclass(frozen=True)
class Run:
    """One run of the tables."""

    batch_size: int
    rate: float | None  # None is CLR
    seed: int
    epochs: int

    @property
    def run_id(self):
        """An id that looks like a number, as a hash may."""
        return f"{self.batch_size}{0 if self.rate is None else int(self.rate * 1000)}{self.seed}"

    @property
    def diverged(self):
        return self.rate == DIVERGING

    @property
    def steps(self):
        return 2 + self.seed if self.diverged else self.epochs * STEPS_PER_EPOCH

    def loss(self, step):
        if self.diverged:
            return math.inf if step == self.steps else 3.0**step
        return FACTOR[self.seed] * DECAY[self.rate] ** (step - 1)

    def step_rows(self):
        for step in range(1, self.steps + 1):
            rate = FACTOR[self.seed] * 0.01 * step if self.rate is None else self.rate
            yield self.run_id, step, (step - 1) // STEPS_PER_EPOCH, self.loss(step), rate

    def epoch_rows(self):
        if not self.diverged:
            for epoch in range(1, self.epochs + 1):
                yield self.run_id, epoch, ACCURACY[self.seed] * epoch / self.epochs

    def meter_rows(self):
        for step in range(1, self.steps + 1, 2):
            yield self.run_id, step, *measures(self.rate, self.seed, step)

    def row(self):
        last = [row[3] for row in self.step_rows() if row[2] == self.epochs - 1]
        return {
            "run_id": self.run_id,
            "dataset": "cifar10-5k",
            "data_label": "CIFAR-10, 5,000 images",
            "num_train": STEPS_PER_EPOCH * self.batch_size + 7,  # 7 are dropped in each epoch
            "model": "resnet18",
            "optimizer": "clr" if self.rate is None else "sgd",
            "learning_rate": self.rate,
            "max_lr": None,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "epochs": self.epochs,
            "status": "diverged" if self.diverged else "finished",
            "final_train_loss": math.nan if self.diverged else np.mean(last),
            "precision": "fp32",
        }

    def figures(self, headline):
        """Names of the figures that need the run."""
        names = ["6", "8", "race", *(["2", "4", "7", "corridor_meter"] if headline else [])]
        return names + (["3", "9", *(["5"] if headline else [])] if self.rate is None else [])


def measures(rate, seed, step):
    """Measurements of the corridor meter, in the order of MEASURES: κ is lowest at step 3."""
    kappa = FACTOR[seed] * (2 + abs(step - 3)) * (1 if rate is None else 10 * rate)
    fall = 1 - FACTOR[seed] * (rate or 0.2)
    return FACTOR[seed] / step, rate or 0.2, kappa, kappa / 2, kappa / 4, fall


def write(
    folder, batch_sizes=(64, 256), rates=(None, 0.01, 0.1, 0.3, 1.0), epochs=EPOCHS, scaled=True
):
    """Write a protocol's tables: CLR and a sweep of SGD; the first batch size is the headline."""
    runs = [
        Run(batch_size, rate, seed, epochs)
        for batch_size in batch_sizes
        for rate in rates
        for seed in SEEDS
    ]
    headline = [run for run in runs if run.batch_size == batch_sizes[0]]
    figure_runs = [(name, run.run_id) for run in runs for name in run.figures(run in headline)]
    folder.mkdir(parents=True, exist_ok=True)
    protocol = {"name": "quick", "title": "for a laptop", "scaled": scaled, "seeds": list(SEEDS)}
    (folder / "protocol.json").write_text(json.dumps(protocol))
    pd.DataFrame([run.row() for run in runs]).to_csv(folder / "runs.csv", index=False)
    named = pd.DataFrame(figure_runs, columns=["figure", "run_id"])
    named.to_csv(folder / "figure_runs.csv", index=False)
    for name, rows, columns in (
        ("steps", [row for run in runs for row in run.step_rows()], _STEPS),
        ("epochs", [row for run in runs for row in run.epoch_rows()], _EPOCHS),
        ("corridor_meter", [row for run in headline for row in run.meter_rows()], _METER),
    ):
        pd.DataFrame(rows, columns=columns).to_parquet(folder / f"{name}.parquet")
    return folder


_STEPS = ["run_id", "step", "epoch", "loss", "learning_rate"]
_EPOCHS = ["run_id", "epoch", "test_accuracy"]
_METER = ["run_id", "step", *MEASURES]


def edit_runs(folder, rows, **values):
    """Change columns of the rows of runs.csv for which `rows`, a function of the table, is true."""
    text = ["run_id", "dataset", "data_label", "model", "optimizer", "status", "precision"]
    numbers = ["learning_rate", "max_lr", "final_train_loss"]  # empty cells are missing numbers
    runs = pd.read_csv(
        folder / "runs.csv",
        dtype=dict.fromkeys(text, str),
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )
    for name, value in values.items():
        runs[name] = runs[name].astype(object)
        runs.loc[rows(runs), name] = value
    runs.to_csv(folder / "runs.csv", index=False)


def edit_parquet(folder, name, edit):
    """Replace a Parquet table of the folder by what `edit` makes of it."""
    path = folder / f"{name}.parquet"
    edit(pd.read_parquet(path)).to_parquet(path)


def drawing(folder, figure):
    """Draw a figure, as scripts/figures.py does, without writing files."""
    with style.applied():
        return draw.DRAW[str(figure)](tables.read(folder)[str(figure)])


def line(ax, label):
    """The only line with a label."""
    (found,) = [drawn for drawn in ax.lines if drawn.get_label() == label]
    return found


def roles(ax):
    """Roles of the panel's lines: main, other, diverged or level."""
    return [read_tag(drawn)[0] for drawn in ax.lines]


def band(ax, name):
    """Lower and upper edge of a curve's band at each x."""
    (found,) = [drawn for drawn in ax.collections if read_tag(drawn) == ("band", name)]
    corners = pd.DataFrame(found.get_paths()[0].vertices[:-1], columns=["x", "y"])
    edges = corners.groupby("x")["y"]
    return edges.min().to_numpy(), edges.max().to_numpy()


def title(figure):
    """Title of a figure."""
    return figure.get_suptitle()


def texts(figure):
    """Title and caption of a figure, on one line."""
    return " ".join(f"{figure.get_suptitle()} {figure.get_supxlabel()}".split())


def legend(ax):
    """Entries of a panel's legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def luminance(drawn):
    """Luminance of a line in gray print, from 0 to 1."""
    return float(np.dot(to_rgb(drawn.get_color()), (0.299, 0.587, 0.114)))


def assert_curve(ax, label, name, x, first):
    """Check a main curve over `x`: `first` is the value of seed 0; see FACTOR for the others."""
    drawn, (low, high) = line(ax, label), band(ax, name)
    assert np.allclose(drawn.get_xdata(), x)
    assert np.allclose(drawn.get_ydata(), 3 * np.asarray(first))
    assert np.allclose(low, first)
    assert np.allclose(high, 6 * np.asarray(first))


def assert_accuracy(ax, label, name):
    """Check a curve of the test accuracy in percent, which ends at ACCURACY."""
    drawn, (low, high) = line(ax, label), band(ax, name)
    share = np.array([1, 2, 3]) / EPOCHS
    assert np.array_equal(drawn.get_xdata(), [1, 2, 3])
    assert np.allclose(drawn.get_ydata(), 40 * share)
    assert np.allclose(low, 20 * share)
    assert np.allclose(high, 70 * share)
