"""A sweep from its runs to its figures: interrupted, resumed, and restored from its tables."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from entry_points import ROOT

pytestmark = pytest.mark.slow

BATCH_SIZES, HEADLINE, RATES, SEEDS = (25, 50), 50, (0.01, 0.1), (0,)
N_RUNS = len(SEEDS) * len(BATCH_SIZES) * (1 + len(RATES))
N_HEADLINE = N_RUNS // len(BATCH_SIZES)
SWEEP = [
    f"protocol.seeds={list(SEEDS)}",
    f"protocol.tasks.cifar10.batch_size={HEADLINE}",
    f"protocol.tasks.cifar10.batch_sizes={list(BATCH_SIZES)}",
    f"protocol.tasks.cifar10.learning_rates={list(RATES)}",
    "protocol.tasks.cifar10.corridor_meter_every=2",
    "train.dataset.resolution=16",
    "train.dataset.train_samples=100",
    "train.dataset.test_samples=50",
    "train.epochs=2",
    "train.wandb.mode=disabled",
    "train.loader=torch",
    "train.workers=0",
]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(script, *arguments):
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def call(script, *arguments):
    done = subprocess.run(
        command(script, *arguments),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sweep_arguments(folder, store):
    places = [f"train.data_dir={folder / 'data'}", f"store={folder / store}"]
    return [*SWEEP, *places, f"results={folder / 'results'}"]


def completion_times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/run.json")}


def kill_after_some_runs(folder):
    """Start the sweep and kill all its processes once two runs are completed."""
    sweep = subprocess.Popen(
        command("sweep.py", *sweep_arguments(folder, "runs")),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while (
        len(completion_times(folder)) < 2 and sweep.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory):
    """The folder of a sweep, and the completion times of the runs that the killed one completed."""
    folder = tmp_path_factory.mktemp("reproduction")
    kill_after_some_runs(folder)
    before = completion_times(folder)
    call("sweep.py", *sweep_arguments(folder, "runs"))
    return folder, before


@pytest.fixture
def results(killed_and_resumed):
    return killed_and_resumed[0] / "results" / "quick"


def test_a_resumed_sweep_trains_each_run_once(killed_and_resumed):
    folder, before = killed_and_resumed
    assert 2 <= len(before) < N_RUNS
    after = completion_times(folder)
    assert len(after) == N_RUNS
    assert {path: after[path] for path in before} == before


def test_the_tables_have_all_runs_once(results):
    runs = pd.read_csv(results / "runs.csv")
    steps = pd.read_parquet(results / "steps.parquet")
    assert len(runs) == N_RUNS
    assert runs["run_id"].is_unique
    assert set(steps["run_id"]) == set(runs["run_id"])


def test_each_figure_names_the_runs_that_it_needs(results):
    needed = pd.read_csv(results / "figure_runs.csv").groupby("figure").size().to_dict()
    n_clr = len(SEEDS)
    assert needed == {
        "2": N_HEADLINE,
        "4": n_clr,
        "6": N_RUNS,
        "9": n_clr * len(BATCH_SIZES),
        "corridor_meter": N_HEADLINE,
        "race": N_RUNS,
    }


def test_all_runs_at_the_headline_batch_size_are_measured(results):
    runs = pd.read_csv(results / "runs.csv")
    meter = pd.read_parquet(results / "corridor_meter.parquet")
    assert set(meter["run_id"]) == set(runs.loc[runs["batch_size"] == HEADLINE, "run_id"])
    # Every second of the four steps.
    assert meter.groupby("run_id")["step"].apply(list).tolist() == [[1, 3]] * N_HEADLINE


def test_the_tables_name_no_local_folders(killed_and_resumed, results):
    assert str(killed_and_resumed[0]) not in (results / "runs.jsonl").read_text()


def test_the_tables_restore_the_store(killed_and_resumed):
    folder, _ = killed_and_resumed
    output = call("sweep.py", *sweep_arguments(folder, "elsewhere"), "import_results=true")
    assert f"{N_RUNS} runs, {N_RUNS} completed before" in output
    tables = sorted(folder.glob("runs/*/*.parquet"))
    assert len(tables) == 2 * N_RUNS + N_HEADLINE
    copies = sorted(folder.glob("elsewhere/*/*.parquet"))
    assert len(copies) == len(tables)
    for table, copy in zip(tables, copies, strict=True):
        assert (table.parent.name, table.name) == (copy.parent.name, copy.name)
        pd.testing.assert_frame_equal(pd.read_parquet(table), pd.read_parquet(copy))


def test_the_tables_are_enough_to_draw_the_figures(results):
    call("scripts/figures.py", results)
    for figure in ("figure2", "figure4", "figure6", "figure9", "corridor_meter", "race"):
        assert (results / "figures" / f"{figure}.png").stat().st_size > 10_000
        assert (results / "figures" / f"{figure}.pdf").exists()
