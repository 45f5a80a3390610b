"""Merging of stores: real runs that were trained into two stores."""

import shutil
import subprocess
import sys

import pandas as pd
import pytest
from entry_points import ROOT
from small_runs import leave_foreign_lock, train_small

from clr.errors import Busy, UserError
from clr.runs import store as store_module
from clr.runs.merge import merge
from clr.runs.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two stores: seeds 0 and 1 in `target`, 1 and 2 in `source`."""
    folder = tmp_path_factory.mktemp("merge")
    for store, seeds in (("target", (0, 1)), ("source", (1, 2))):
        for seed in seeds:
            train_small(folder, f"seed={seed}", store=store)
    return folder


@pytest.fixture
def stores(trained, tmp_path):
    for name in ("target", "source"):
        shutil.copytree(trained / name, tmp_path / name)
    return Store(tmp_path / "target"), Store(tmp_path / "source")


def seeds(store):
    return sorted(record["config"]["seed"] for record in store.all_finished())


def run_ids(store):
    return {record["run_id"] for record in store.all_finished()}


def test_missing_runs_are_copied(stores):
    target, source = stores
    (copied,) = merge(source, target)
    assert seeds(target) == [0, 1, 2]
    assert seeds(source) == [1, 2]
    for name in ("steps.parquet", "epochs.parquet", "config.yaml", "run.json"):
        original = (source.folder(copied) / name).read_bytes()
        assert (target.folder(copied) / name).read_bytes() == original
    assert merge(source, target) == []
    assert {path.name for path in target.root.iterdir()} == run_ids(target)


def test_a_store_that_cannot_be_written_is_one_line(stores):
    _, source = stores
    target = Store("/proc/nowhere")
    with pytest.raises(UserError, match=r"cannot write /proc/nowhere: .*; choose another store"):
        merge(source, target)


def test_conflicting_records_are_refused_and_nothing_is_copied(stores):
    target, source = stores
    (name,) = run_ids(target) & run_ids(source)
    steps = pd.read_parquet(source.folder(name) / "steps.parquet")
    steps.loc[1, "loss"] += 1e-12
    steps.to_parquet(source.folder(name) / "steps.parquet")
    problem = rf"1 runs have other records .* {name} \(steps.parquet differs\)"
    with pytest.raises(UserError, match=problem):
        merge(source, target)
    assert seeds(target) == [0, 1]


def test_a_damaged_record_is_replaced_by_the_other_stores(stores):
    target, source = stores
    (name,) = run_ids(target) & run_ids(source)
    (target.folder(name) / "run.json").write_text("")
    assert name in merge(source, target)
    assert seeds(target) == [0, 1, 2]


def test_a_run_that_another_process_trains_is_not_overwritten(stores):
    target, source = stores
    (name,) = run_ids(source) - run_ids(target)
    with target.claim(name), pytest.raises(Busy):
        merge(source, target)


def test_the_lock_of_a_dead_host_is_taken_over(stores, monkeypatch):
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 0.5)
    target, source = stores
    (name,) = run_ids(source) - run_ids(target)
    leave_foreign_lock(target, name)
    assert merge(source, target) == [name]


def merge_runs(*arguments):
    command = [sys.executable, "scripts/merge_runs.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_command_reports_the_number_of_copied_runs(stores):
    target, source = stores
    done = merge_runs(source.root, "--into", target.root)
    assert done.returncode == 0, done.stderr
    assert "1 runs copied into" in done.stdout


def test_a_folder_without_runs_is_one_line(stores):
    target, _ = stores
    empty = target.root.parent / "empty"
    empty.mkdir()
    for folder, problem in ((target.root / "nothing", "does not exist"), (empty, "no completed")):
        done = merge_runs(folder, "--into", target.root)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert problem in line
