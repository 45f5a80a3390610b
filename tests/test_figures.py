"""The figures: what is drawn, in numbers worked out by hand; what is said; and that a second drawing is the same."""

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))  # as Python does for `python scripts/figures.py`
figures = importlib.import_module("figures")
tables = importlib.import_module("plots.tables")

SEEDS, EPOCHS, STEPS_PER_EPOCH = (0, 1, 2), 3, 2
# Seeds multiply the loss by 1, 2 and 6, so their mean is 3 times that of seed 0, from 1 to 6 times
FACTOR = {0: 1.0, 1: 2.0, 2: 6.0}
HALVES = {None: 0.4, 0.01: 0.9, 0.1: 0.5, 0.3: 0.6}  # what a step leaves of the loss
ACCURACY = {0: 0.2, 1: 0.3, 2: 0.7}


def loss(rate, seed, step):
    return FACTOR[seed] * HALVES[rate] ** (step - 1)


def write(folder, batch_sizes=(64, 256), rates=(None, 0.01, 0.1, 0.3, 1.0), epochs=EPOCHS, scaled=True):
    """A protocol's tables: CLR and a sweep whose rate 1 diverges at step 2 + seed."""
    runs, steps, done, named = [], [], [], []
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
                if not diverged:
                    done += [(run_id, epoch, ACCURACY[seed] * epoch / epochs) for epoch in range(1, epochs + 1)]
                last = [row[3] for row in steps if row[0] == run_id and row[2] == epochs - 1]
                runs.append(
                    {
                        "run_id": run_id,
                        "dataset": "cifar10-5k",
                        "data_label": "CIFAR-10, 5,000 images",
                        "model": "resnet18",
                        "optimizer": "clr" if rate is None else "sgd",
                        "learning_rate": rate,
                        "batch_size": batch_size,
                        "seed": seed,
                        "epochs": epochs,
                        "status": "diverged" if diverged else "finished",
                        "final_train_loss": math.nan if diverged else np.mean(last),
                        "precision": "fp32",
                    }
                )
                named += [(6, run_id)] + [(number, run_id) for number in (2, 4) if batch_size == batch_sizes[0]]
    folder.mkdir(parents=True, exist_ok=True)
    protocol = {"name": "quick", "title": "for a laptop", "scaled": scaled, "seeds": list(SEEDS)}
    (folder / "protocol.json").write_text(json.dumps(protocol))
    pd.DataFrame(runs).to_csv(folder / "runs.csv", index=False)
    columns = ["run_id", "step", "epoch", "loss", "learning_rate"]
    pd.DataFrame(steps, columns=columns).to_parquet(folder / "steps.parquet")
    pd.DataFrame(done, columns=["run_id", "epoch", "test_accuracy"]).to_parquet(folder / "epochs.parquet")
    pd.DataFrame(named, columns=["figure", "run_id"]).to_csv(folder / "figure_runs.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("results") / "quick")


def drawing(folder, number):
    return figures.DRAW[number](tables.read(folder)[number])


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


def test_figure_2_shows_mean_and_band_of_clr_and_of_the_best_rate(folder):
    left, right = drawing(folder, 2).axes
    steps = np.arange(1, 7)
    assert left.get_yscale() == "log"
    # Bands are drawn in the order of the curves: CLR's last, on top
    for label, rate, i in (("CLR", None, 1), ("SGD, best rate 0.1", 0.1, 0)):
        drawn = line(left, label)
        first = HALVES[rate] ** (steps - 1)
        assert np.array_equal(drawn.get_xdata(), steps)
        assert drawn.get_ydata() == pytest.approx(3 * first)
        low, high = band(left, i)
        assert low == pytest.approx(first) and high == pytest.approx(6 * first)
        accuracy = line(right, label)
        assert np.array_equal(accuracy.get_xdata(), [1, 2, 3])
        assert accuracy.get_ydata() == pytest.approx([40 / 3, 80 / 3, 40])
        low, high = band(right, i)
        assert low == pytest.approx([20 / 3, 40 / 3, 20]) and high == pytest.approx([70 / 3, 140 / 3, 70])
    for rate in (0.01, 0.3):
        faint = line(left, f"_other sgd {rate}")
        assert faint.get_ydata() == pytest.approx(3 * HALVES[rate] ** (steps - 1))
        assert faint.get_linewidth() < line(left, "CLR").get_linewidth()
    assert len(right.lines) == 2
    assert line(left, "CLR").get_linestyle() != line(left, "SGD, best rate 0.1").get_linestyle()


def test_a_diverged_rate_ends_in_a_cross_and_is_named(folder):
    left, _ = drawing(folder, 2).axes
    # Seed 0 has a finite loss at step 1 alone; the others, which went on to 3 and 4, cannot make a mean of seeds
    assert np.array_equal(line(left, "_other sgd 1").get_xydata(), [[1, 3]])
    cross = line(left, "_diverged")
    assert cross.get_marker() == "x" and np.array_equal(cross.get_xydata(), [[1, 3]])
    assert legend(left) == ["CLR", "SGD, best rate 0.1", "SGD, others: 0.01–0.3", "SGD, diverged: 1"]


def test_a_diverged_rate_neither_stretches_the_axis_nor_loses_its_cross(folder, tmp_path):
    write(tmp_path)
    steps = pd.read_parquet(tmp_path / "steps.parquet")
    steps.loc[steps["run_id"].str.fullmatch("641000[012]") & (steps["step"] == 1), "loss"] = 1e30
    steps.to_parquet(tmp_path / "steps.parquet")
    left, _ = drawing(tmp_path, 2).axes
    low, high = left.get_ylim()
    assert (low, high) == drawing(folder, 2).axes[0].get_ylim()
    assert low < HALVES[None] ** 5 and 6 < high < 12
    assert np.array_equal(line(left, "_diverged").get_xydata(), [[1, high]])


def test_a_long_run_is_shown_in_means_of_some_steps_and_the_picture_says_so(tmp_path):
    figure = drawing(write(tmp_path, batch_sizes=(64,), rates=(None, 0.01), epochs=125), 2)  # 250 steps
    drawn = line(figure.axes[0], "CLR")
    assert drawn.get_xdata() == pytest.approx([2, *np.arange(5, 249, 3), 250])
    assert drawn.get_ydata()[1] == pytest.approx(3 * np.mean([0.4**3, 0.4**4, 0.4**5]))
    assert "Each point of the loss is the mean of 3 steps." in texts(figure)
    assert "SGD, best rate 0.01\n(edge of the sweep)" in legend(figure.axes[0])


def test_figure_4_shows_the_rates_that_clr_took_and_the_best_fixed_one(folder):
    figure = drawing(folder, 4)
    (ax,) = figure.axes
    taken, first = line(ax, "CLR"), 0.01 * np.arange(1, 7)
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "step"
    assert taken.get_ydata() == pytest.approx(3 * first)
    low, high = band(ax, 0)
    assert low == pytest.approx(first) and high == pytest.approx(6 * first)
    assert set(line(ax, "SGD, best rate 0.1").get_ydata()) == {0.1}
    assert len(ax.lines) == 2 and legend(ax) == ["CLR", "SGD, best rate 0.1"]


def test_figure_4_without_a_sweep_has_a_panel_for_each_data_set(folder, tmp_path):
    write(tmp_path, batch_sizes=(64,), rates=(None,))
    runs = pd.read_csv(tmp_path / "runs.csv")
    runs.loc[1, ["dataset", "data_label"]] = ["imagenet", "ImageNet"]
    runs.to_csv(tmp_path / "runs.csv", index=False)
    first, second = drawing(tmp_path, 4).axes
    assert first.get_title() == "CIFAR-10, 5,000 images\nResNet-18, batch size 64"
    assert second.get_title() == "ImageNet\nResNet-18, batch size 64"
    assert line(first, "CLR").get_ydata() == pytest.approx(0.035 * np.arange(1, 7))  # seeds 0 and 2
    assert line(second, "CLR").get_ydata() == pytest.approx(0.02 * np.arange(1, 7))
    assert len(first.lines) == len(second.lines) == 1


def test_figure_6_shows_epoch_means_for_each_batch_size_and_the_last_ones_against_it(folder):
    first, second, last = drawing(folder, 6).axes
    assert [ax.get_title() for ax in (first, second)] == [
        "batch size 64 (diverged: rate 1)",
        "batch size 256 (diverged: rate 1)",
    ]
    epoch_means = {
        r: np.array([(1 + HALVES[r]) / 2 * HALVES[r] ** (2 * e) for e in range(EPOCHS)]) for r in (None, 0.1)
    }
    for ax in (first, second):
        assert ax.get_ylim() == first.get_ylim() and ax.get_yscale() == "log"
        for label, rate, i in (("CLR", None, 1), ("SGD, best rate 0.1", 0.1, 0)):
            assert np.array_equal(line(ax, label).get_xdata(), [1, 2, 3])
            assert line(ax, label).get_ydata() == pytest.approx(3 * epoch_means[rate])
            low, high = band(ax, i)
            assert low == pytest.approx(epoch_means[rate]) and high == pytest.approx(6 * epoch_means[rate])
        assert legend(ax) == ["CLR", "SGD, best rate 0.1"]
    finals = {container.get_label(): container for container in last.containers}
    for label, rate in (("CLR", None), ("SGD", 0.1)):
        data, _, (bars,) = finals[label]
        end = epoch_means[rate][-1]
        assert data.get_xydata() == pytest.approx(np.array([[64, 3 * end], [256, 3 * end]]))
        assert bars.get_segments()[0][:, 1] == pytest.approx([end, 6 * end])


def test_the_best_rate_is_chosen_at_each_batch_size(tmp_path):
    write(tmp_path)
    runs = pd.read_csv(tmp_path / "runs.csv")
    runs.loc[(runs["batch_size"] == 256) & (runs["learning_rate"] == 0.3), "final_train_loss"] = 1e-6
    runs.to_csv(tmp_path / "runs.csv", index=False)
    first, second, _ = drawing(tmp_path, 6).axes
    assert legend(first)[1] == "SGD, best rate 0.1" and legend(second)[1] == "SGD, best rate 0.3"


def test_where_every_rate_diverged_clr_stands_alone(tmp_path):
    left, _ = drawing(write(tmp_path, rates=(None, 1.0)), 2).axes
    assert legend(left) == ["CLR", "SGD, diverged: 1"]


def test_clr_that_diverged_is_called_so(tmp_path):
    write(tmp_path, rates=(None, 0.01, 0.1))
    runs = pd.read_csv(tmp_path / "runs.csv")
    runs.loc[0, "status"] = "diverged"
    runs.to_csv(tmp_path / "runs.csv", index=False)
    left, _ = drawing(tmp_path, 2).axes
    assert legend(left)[0] == "CLR (diverged)" and line(left, "_diverged").get_xdata() == [6]


@pytest.mark.parametrize("number", [2, 4, 6])
@pytest.mark.parametrize("scaled", [True, False])
def test_the_picture_says_what_it_shows(tmp_path, number, scaled):
    said = texts(drawing(write(tmp_path, scaled=scaled), number))
    sizes = "64, 256" if number == 6 else "64"
    facts = f"CIFAR-10, 5,000 images · ResNet-18 · batch size {sizes} · 3 epochs · fp32 · 3 seeds (0, 1, 2)"
    assert facts in said
    assert ("Scaled-down protocol “quick”: for a laptop." in said) == scaled and "rotocol “quick”" in said
    assert "Lines are means over the seeds, bands reach from the lowest to the highest seed." in said
    assert ("× marks where" in said) == ("Grey:" in said) == (number != 4)
    assert "partial" not in said


def test_a_figure_that_lacks_runs_says_so(folder, tmp_path):
    write(tmp_path)
    runs = pd.read_csv(tmp_path / "runs.csv")
    runs.drop([0, 3]).to_csv(tmp_path / "runs.csv", index=False)  # seed 0 of CLR and of rate 0.01
    figure = drawing(tmp_path, 2)
    assert "(partial: 2 of 15 runs missing)" in figure._suptitle.get_text()
    assert line(figure.axes[0], "CLR").get_ydata()[0] == 4  # seeds 1 and 2
    assert "(partial: 2 of 30 runs missing)" in drawing(tmp_path, 6)._suptitle.get_text()


def test_two_runs_of_one_seed_in_a_panel_are_refused(tmp_path):
    write(tmp_path)
    named = pd.read_csv(tmp_path / "figure_runs.csv", dtype=str)
    named.assign(figure=2).drop_duplicates().to_csv(tmp_path / "figure_runs.csv", index=False)
    with pytest.raises(ValueError, match="one run for each seed"):
        drawing(tmp_path, 2)


def command(*args, cwd):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    door = [sys.executable, str(ROOT / "scripts" / "figures.py"), *args]
    return subprocess.run(door, cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_door_draws_every_figure_and_a_second_drawing_is_the_same(tmp_path):
    folder = write(tmp_path / "results" / "quick")
    expected = [f"figure{number}.{kind}" for number in (2, 4, 6) for kind in ("png", "pdf")]
    done = command("results/quick", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [f"results/quick/figures/{name}" for name in expected]
    first = {name: (folder / "figures" / name).read_bytes() for name in expected}
    figures.draw_all(folder)  # another process, another time
    assert {name: (folder / "figures" / name).read_bytes() for name in expected} == first
    for name in expected:
        assert first[name].startswith(b"%PDF" if name.endswith("pdf") else b"\x89PNG")
    assert b"/Type3" not in first["figure2.pdf"] and b"CreationDate" not in first["figure2.pdf"]


def refusal(folder, tmp_path):
    done = command(str(folder), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    return done.stderr


def test_missing_tables_are_one_line_with_the_remedy(tmp_path):
    (write(tmp_path / "quick") / "steps.parquet").unlink()
    for name, missing in (("quick", "steps.parquet"), ("paper", "protocol.json")):
        said = refusal(name, tmp_path)
        assert f"{name}/{missing} is missing" in said and f"make reproduce PROTOCOL={name}\n" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs.csv": lambda t: t[t["batch_size"] == 256]}, "runs.csv has no run of figure 2; make it with"),
        ({"figure_runs.csv": lambda t: t[:0]}, "figure_runs.csv names no figure"),
        ({"figure_runs.csv": lambda t: t.assign(figure=1)}, "names figure 1, only [2, 4, 6] can be drawn"),
        ({"epochs.parquet": lambda t: t[t["run_id"] != "6402"]}, "epochs.parquet lacks finished run 6402 of runs.csv"),
    ],
)
def test_tables_that_do_not_suffice_are_a_user_error(tmp_path, change, message):
    write(tmp_path)
    for name, edit in change.items():
        path = tmp_path / name
        if path.suffix == ".csv":
            edit(pd.read_csv(path, dtype={"run_id": str})).to_csv(path, index=False)
        else:
            edit(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(figures.UserError) as error:
        figures.draw_all(tmp_path)
    assert message in str(error.value)
