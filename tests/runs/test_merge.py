"""Stores that become one: real runs, made in two places."""

import shutil
import subprocess
import sys

import pandas as pd
import pytest
from entry_points import PLAIN, ROOT, TINY

from clr.config import load
from clr.data import prepare
from clr.errors import Busy, UserError
from clr.runs.merge import merge
from clr.runs.store import Store
from clr.training.trainer import train


@pytest.fixture(scope="module")
def two_places(tmp_path_factory):
    """Two stores: seeds 0 and 1 in one, 1 and 2 in the other."""
    tmp = tmp_path_factory.mktemp("merge")
    for place, seeds in (("here", (0, 1)), ("there", (1, 2))):
        for seed in seeds:
            cfg = load(
                [
                    *TINY,
                    *PLAIN,
                    f"data_dir={tmp / 'data'}",
                    f"store={tmp / place}",
                    f"seed={seed}",
                    "epochs=1",
                ]
            )
            train(cfg, prepare(cfg.dataset, cfg.data_dir, cfg.loader))
    return tmp


@pytest.fixture
def here_and_there(two_places, tmp_path):
    for place in ("here", "there"):
        shutil.copytree(two_places / place, tmp_path / place)
    return Store(tmp_path / "here"), Store(tmp_path / "there")


def seeds(store):
    return sorted(done["config"]["seed"] for done in store.all_finished())


def test_the_runs_that_are_missing_are_copied(here_and_there):
    here, there = here_and_there
    (copied,) = merge(there, here)
    assert seeds(here) == [0, 1, 2] and seeds(there) == [1, 2]
    for table in ("steps.parquet", "epochs.parquet", "config.yaml", "run.json"):
        assert (here.folder(copied) / table).read_bytes() == (
            there.folder(copied) / table
        ).read_bytes()
    assert merge(there, here) == []


def test_conflicting_records_are_refused_and_nothing_is_copied(here_and_there):
    here, there = here_and_there
    (name,) = {done["run_id"] for done in here.all_finished()} & {
        done["run_id"] for done in there.all_finished()
    }
    steps = pd.read_parquet(there.folder(name) / "steps.parquet")
    steps.loc[3, "loss"] += 1e-12
    steps.to_parquet(there.folder(name) / "steps.parquet")
    with pytest.raises(
        UserError, match=rf"1 runs have other records .* {name} \(steps.parquet differs\)"
    ):
        merge(there, here)
    assert seeds(here) == [0, 1]


def test_a_run_that_is_being_made_is_not_overwritten(here_and_there):
    here, there = here_and_there
    (name,) = {done["run_id"] for done in there.all_finished()} - {
        done["run_id"] for done in here.all_finished()
    }
    with here.claim(name), pytest.raises(Busy):
        merge(there, here)


def test_the_door_says_what_it_did(here_and_there):
    here, there = here_and_there

    def door(*args):
        return subprocess.run(
            [sys.executable, "scripts/merge_runs.py", *map(str, args)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    done = door(there.root, "--into", here.root)
    assert done.returncode == 0 and "1 runs put into" in done.stdout, done.stderr
    none = door(here.root / "nothing", "--into", here.root)
    assert (
        none.returncode == 2 and none.stderr.count("\n") == 1 and "no finished runs" in none.stderr
    )
