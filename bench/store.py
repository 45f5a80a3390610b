"""Time of a store's commands with 10, 1,000 and 10,000 runs.

    python bench/store.py

The runs are those of the protocol `quick` with many seeds; their records are made up. For each
number of runs it measures the seconds of processor time to plan the sweep, to find out that all
runs are completed, to format the table of a dry run with its estimate of time, and to merge the
store into an empty one: the median of five calls with their quartiles, because the file system
takes most of the time of a merge, and its speed varies. The start of Python is not included.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from time import process_time

from bench_table import Row, row, save
from bench_timing import Ratio
from hydra import compose, initialize_config_dir

from clr.config import CONFIGS
from clr.data import DatasetInfo, find_prepared, prepare_once
from clr.files import write_json
from clr.runs.merge import merge
from clr.runs.store import Store
from clr.runs.tables import read_records
from clr.sweeps.config import SweepConfig, checked_sweep
from clr.sweeps.plan import plan_sweep
from clr.sweeps.planned_run import PlannedRun
from clr.sweeps.summary import plan_table

SIZES = (10, 1000, 10_000)
CALLS = 5
RUNS_PER_SEED = 10  # of the protocol quick
RESULTS = Path(__file__).parents[1] / "results" / "quick"


def compose_sweep(seeds: int, folder: Path) -> SweepConfig:
    """The config of a sweep with `seeds` seeds, with its data and store in `folder`."""
    numbers = ",".join(map(str, range(seeds)))
    composed = compose("sweep", overrides=[f"protocol.seeds=[{numbers}]"])
    composed.train, composed.store = [f"data_dir={folder}/data"], f"{folder}/runs"
    return checked_sweep(composed)


def write_records(planned: Mapping[str, PlannedRun], store: Store) -> None:
    """Write a made-up result of each planned run: a committed one with another id and config."""
    example = read_records(RESULTS)[0]
    for name, run in planned.items():
        assert isinstance(run.info, DatasetInfo)
        folder = store.begin(name, run.cfg, run.info.fingerprint)
        write_json(example | {"run_id": name, "config": asdict(run.cfg)}, folder / "run.json")


def processor_seconds(function: Callable[[int], object]) -> Ratio:
    """Seconds of processor time of a function, which gets the number of the call."""
    taken = []
    for call in range(CALLS):
        start = process_time()
        function(call)
        taken.append(process_time() - start)
    return Ratio.of(taken, [1.0] * CALLS)


def measure(runs: int, folder: Path) -> list[Row]:
    """Time the commands with a store of `runs` runs in an empty folder."""
    sweep = compose_sweep(runs // RUNS_PER_SEED, folder)
    planned = plan_sweep(sweep, prepare_once)
    store = Store(sweep.store)
    write_records(planned, store)
    commands: dict[str, Callable[[int], object]] = {
        "plan of a sweep": lambda _: plan_sweep(sweep, find_prepared),
        "skip of completed runs": lambda _: [
            store.completed(name, run.cfg) for name, run in planned.items()
        ],
        "table of a dry run, with estimate": lambda _: plan_table(planned, store),
        "merge into an empty store": lambda call: merge(
            store, Store(str(folder / f"merged{call}"))
        ),
    }
    return [
        row(
            f"store with {len(planned):,} runs, {name}: seconds",
            "–",
            processor_seconds(command),
            aim="≤ 5" if runs == max(SIZES) else "",
        )
        for name, command in commands.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    rows = []
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        for runs in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                rows += measure(runs, Path(folder))
    save("python bench/store.py", rows)


if __name__ == "__main__":
    main()
