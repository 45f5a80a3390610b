"""Runs with the corridor meter train as without it, and have the same measures after a kill."""

import signal
import time

import pandas as pd
import pytest
import torch
from entry_points import PLAIN, TINY, Train, ranks

from clr.training.recorder import METER_COLUMNS

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = [*TINY, *PLAIN, "dataset.crop_padding=4", "dataset.flip=true"]
FOUR_STEPS = [*SMALL, "dataset.train_samples=40", "dataset.test_samples=20", "batch_size=20"]


def train_tables(tmp, name, *args, n=1, port=None):
    """Train one run through the entry point; return its tables by name, without the seconds."""
    args = [*FOUR_STEPS, f"data_dir={tmp / 'data'}", f"store={tmp / name}", *args]
    log = tmp / f"{name}.log"
    runs = [Train(args, log)] if n == 1 else ranks(n, port, args, log)
    assert [run.wait() for run in runs] == [0] * n, [run.output() for run in runs]
    return tables(tmp / name)


def tables(store):
    (folder,) = (p for p in store.iterdir() if p.is_dir())
    tables = {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in tables.items()}


CLR_RUN = ["optimizer=clr"]
CLR_BF16_RUN = ["optimizer=clr", "precision=bf16", "model.norm=group", "device_batch_size=25"]
MOMENTUM_RUN = ["optimizer=sgd", "optimizer.lr=0.01", "+optimizer.momentum=0.9", "precision=bf16"]
SGD_RUN = ["optimizer=sgd", "optimizer.lr=0.01", "device_batch_size=13"]
DAL_RUN = ["optimizer=dal", "device_batch_size=13"]  # its rate needs the meter at each step


@pytest.mark.parametrize(
    ("args", "n"),
    [(CLR_RUN, 1), (CLR_BF16_RUN, 1), (MOMENTUM_RUN, 1), (SGD_RUN, 2), (DAL_RUN, 2)],
    ids=["clr", "clr-bf16", "momentum-bf16", "two-ranks", "dal"],
)
def test_a_run_is_the_same_to_the_bit_with_and_without_the_meter(tmp_path, free_port, args, n):
    off = train_tables(tmp_path, "off", *args, n=n, port=free_port)
    on = train_tables(tmp_path, "on", *args, "diagnostics.every=3", n=n, port=free_port + 1)
    meter = on.pop("corridor_meter")
    assert set(on) == set(off) == {"steps", "epochs"}
    for name in on:
        pd.testing.assert_frame_equal(on[name], off[name], check_exact=True)

    assert meter.columns.tolist() == METER_COLUMNS
    assert meter["step"].tolist() == [1, 4]
    measured_steps = on["steps"].set_index("step").loc[meter["step"]].reset_index()
    for column in ("epoch", "samples", "learning_rate"):
        assert meter[column].tolist() == measured_steps[column].tolist(), column
    tolerance = 0.1 if "precision=bf16" in args else 1e-6
    for column in ("loss", "grad_norm_sq"):
        expected = pytest.approx(measured_steps[column].tolist(), rel=tolerance)
        assert meter[column].tolist() == expected, column
    if args is CLR_RUN:  # its rate is E/‖g‖²
        assert meter["turn"].tolist() == pytest.approx(meter["kappa"].tolist(), rel=1e-6)
    if args is DAL_RUN:
        curvature = meter["hg_norm"] / meter["grad_norm_sq"] ** 0.5
        expected = (2 / curvature**0.5).clip(upper=5).tolist()
        assert meter["learning_rate"].tolist() == pytest.approx(expected, rel=1e-6)


def test_the_division_of_a_batch_does_not_change_the_measures(tmp_path, free_port):
    # In float64 and without batch statistics, as in test_ranks.py. Steps 1 and 5 of 5.
    args = ["precision=fp64", "model.norm=group", "dataset.train_samples=100", "epochs=1"]
    args += ["diagnostics.every=4"]
    whole = train_tables(tmp_path, "whole", *args)["corridor_meter"]
    assert len(whole) == 2
    assert (whole["kappa"] > 0).all()
    for n in (1, 2):
        name, cut = f"{n}x5", [*args, "device_batch_size=5"]
        divided = train_tables(tmp_path, name, *cut, n=n, port=free_port)["corridor_meter"]
        for column in METER_COLUMNS:
            expected = pytest.approx(whole[column].tolist(), rel=1e-9)
            assert divided[column].tolist() == expected, (name, column)


def killed(tmp, name, *args, step):
    """Kill a run when it has a checkpoint of `step` or later; it writes one at every step."""
    places = [f"data_dir={tmp / 'data'}", f"store={tmp / name}", "checkpoint.seconds=0"]
    run = Train([*FOUR_STEPS, *args, *places], tmp / f"{name}-killed.log")
    while run.running() and not any(
        int(p.stem[5:]) >= step for p in tmp.glob(f"{name}/*/checkpoints/step-*.pt")
    ):
        time.sleep(0.005)
    run.kill(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, run.output()


def test_a_killed_run_has_the_measures_of_an_undisturbed_one(tmp_path):
    args = ["epochs=4", "diagnostics.every=2"]
    whole = train_tables(tmp_path, "whole", *args)
    assert whole["corridor_meter"]["step"].tolist() == [1, 3, 5, 7]
    for step in (3, 6):
        killed(tmp_path, "cut", *args, step=step)
    # Started without the meter, a run must not resume with half of a table.
    killed(tmp_path, "late", "epochs=4", step=3)
    for name in ("cut", "late"):
        resumed = train_tables(tmp_path, name, *args)
        for table in ("steps", "epochs", "corridor_meter"):
            pd.testing.assert_frame_equal(resumed[table], whole[table], check_exact=True)


def test_a_completed_run_is_only_trained_again_for_measures_that_it_lacks(tmp_path):
    def stamp():
        (path,) = tmp_path.glob("runs/*/run.json")
        return path.stat().st_mtime_ns

    without, stamps = train_tables(tmp_path, "runs"), [stamp()]
    assert "corridor_meter" not in without
    # The last three ask for a part of what was measured, or for nothing.
    for every in ("3", "2", "4", "2", "null"):
        tables_now = train_tables(tmp_path, "runs", f"diagnostics.every={every}")
        stamps.append(stamp())
        measured_steps = [1, 4] if every == "3" else [1, 3]
        assert tables_now["corridor_meter"]["step"].tolist() == measured_steps
        for table in without:
            pd.testing.assert_frame_equal(tables_now[table], without[table], check_exact=True)
    assert stamps[0] < stamps[1] < stamps[2], "a run with fewer measures was not trained again"
    assert stamps[2:] == [stamps[2]] * 4, "a run with all the measures was trained again"
    killed(tmp_path, "runs", "diagnostics.every=1", step=2)
    assert not list(tmp_path.glob("runs/*/run.json")), "its records are half overwritten"


def test_a_diverged_run_is_measured_up_to_its_last_step(tmp_path):
    diverging = ["optimizer=sgd", "optimizer.lr=1e30", "diagnostics.every=1"]
    run = train_tables(tmp_path, "runs", *diverging)
    assert len(run["steps"]) < 4
    assert run["corridor_meter"]["step"].tolist() == run["steps"]["step"].tolist()
