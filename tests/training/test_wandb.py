"""W&B as its users see it: what its files and its server get, and what happens without a server."""

import json
import os
import signal
import subprocess
import sys

import pytest
from entry_points import ROOT, ranks
from mirrored_runs import (
    INTERRUPTIONS,
    MIRRORED,
    assert_mirrored,
    interrupt,
    places,
    resume,
    run_folder,
)
from wandb_files import exit_code, history, offline_files
from wandb_server import Server

from clr.errors import CONTINUE

pytestmark = pytest.mark.slow

# W&B's hook at the end of a process does not run in those of multiprocessing, as `Train` is.
TRAIN = """
import train
from clr.cli import run_main
from clr.training import wandb_mirror

wandb_mirror.FINISH_SECONDS = 2
run_main(train.main)
"""

# A session that fails after two steps, and one that resumes: each mirrors the run from its start.
TWO_SESSIONS = """
import sys, time
from pathlib import Path
from clr.config import WandbConfig
from clr.training.wandb_mirror import WandbMirror

def mirror(last_step):
    folder = Path(sys.argv[2])
    with WandbMirror(WandbConfig(mode=sys.argv[1]), "run-of-two", {}, folder) as opened:
        for step in range(1, last_step + 1):
            opened.log({"step": step, "loss": 1 / step}, "train")
        if last_step < 4:
            raise KeyboardInterrupt

try:
    mirror(2)
except KeyboardInterrupt:
    time.sleep(1)  # W&B names folders by the second
mirror(4)
"""

PUBLISH = """
import sys
from pathlib import Path
import pandas as pd
from clr.cli import run_main
from clr.config import WandbConfig
from clr.training import wandb_mirror

wandb_mirror.FINISH_SECONDS = 2
verdicts = pd.DataFrame({"claim": ["converges"]})
folder = Path(sys.argv[1])
run_main(lambda: wandb_mirror.publish(WandbConfig(mode="online"), "report", {}, verdicts, folder))
"""


def call(tmp, *command, **environment):
    """Run a command without the user's settings of W&B."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=known | {"HOME": str(tmp), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=200,
    )


def train_online(tmp, **environment):
    """Train with `wandb.mode=online` in a process of its own."""
    overrides = [*MIRRORED, *places(tmp), "wandb.mode=online"]
    return call(tmp, "-c", TRAIN, *overrides, **environment)


@pytest.fixture
def server(free_port, request):
    started = Server(free_port, request.param)
    yield started
    started.stop()


def test_the_offline_file_of_two_ranks_has_every_recorded_step(tmp_path, free_port):
    pair = ranks(2, free_port, [*MIRRORED, *places(tmp_path)], tmp_path / "log")
    assert [rank.wait() for rank in pair] == [0, 0], [rank.output() for rank in pair]
    (path,) = offline_files(run_folder(tmp_path))
    assert_mirrored(history(path), run_folder(tmp_path))
    assert exit_code(path) == 0


@pytest.mark.parametrize("number", INTERRUPTIONS, ids=lambda number: number.name)
def test_the_offline_file_of_a_resumed_run_has_every_recorded_step(tmp_path, number):
    left = interrupt(tmp_path, MIRRORED, number)
    if number == signal.SIGTERM:
        assert left == CONTINUE
        (path,) = offline_files(run_folder(tmp_path))
        assert exit_code(path) == 1, "W&B would show an interrupted run as finished"
    resume(tmp_path, MIRRORED)
    newest = offline_files(run_folder(tmp_path))[-1]
    assert_mirrored(history(newest), run_folder(tmp_path))
    assert exit_code(newest) == 0


@pytest.mark.parametrize("server", ["healthy"], indirect=True)
def test_the_server_gets_every_recorded_step(tmp_path, server):
    done = train_online(tmp_path, **server.environment())
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert_mirrored({row["_step"]: row for row in server.history}, run_folder(tmp_path))
    assert server.exit_code == 0


@pytest.mark.parametrize("server", ["healthy"], indirect=True)
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_the_server_has_each_step_of_two_sessions_once(tmp_path, server, mode):
    reach = server.environment()
    done = call(tmp_path, "-c", TWO_SESSIONS, mode, tmp_path, **reach)
    assert done.stderr == ""
    if mode == "offline":
        assert not server.history
        folders = sorted(tmp_path.glob("wandb/offline-run-*"))
        assert len(folders) == 2
        synced = call(tmp_path, "-m", "wandb", "sync", "--yes", *folders, **reach)
        assert synced.returncode == 0, synced.stderr
    assert [row["_step"] for row in server.history] == [1, 2, 3, 4]
    assert [row["train/loss"] for row in server.history] == [1 / step for step in range(1, 5)]
    assert server.exit_code == 0, "the last session finished"


def check_complete(tmp, done):
    """The records are complete and the exit code is that of a finished run."""
    assert done.returncode == 0, done.stderr
    assert "finished: 4 steps" in done.stdout
    assert "Traceback" not in done.stderr
    run = json.loads((run_folder(tmp) / "run.json").read_text())
    assert run["summary"]["steps"] == 4


@pytest.mark.parametrize("server", ["errors", "silent"], indirect=True)
def test_a_server_out_of_order_leaves_the_run_offline(tmp_path, server):
    done = train_online(tmp_path, **server.environment())
    check_complete(tmp_path, done)
    (line,) = done.stderr.splitlines()
    assert line.startswith("W&B cannot be reached")
    (path,) = offline_files(run_folder(tmp_path))
    assert_mirrored(history(path), run_folder(tmp_path))


def test_without_a_key_the_run_is_kept_offline(tmp_path):
    done = train_online(tmp_path)
    check_complete(tmp_path, done)
    (line,) = done.stderr.splitlines()
    assert "there is no API key; set WANDB_API_KEY or call wandb login" in line
    (path,) = offline_files(run_folder(tmp_path))
    assert_mirrored(history(path), run_folder(tmp_path))


@pytest.mark.parametrize("server", ["dies"], indirect=True)
def test_a_server_that_dies_during_the_run_costs_no_record(tmp_path, server):
    done = train_online(tmp_path, **server.environment())
    check_complete(tmp_path, done)
    (path,) = run_folder(tmp_path).glob("wandb/run-*/*.wandb")
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"upload the rest with: wandb sync {path.parent}")
    assert_mirrored(history(path), run_folder(tmp_path))


@pytest.mark.parametrize("server", ["nonsense"], indirect=True)
def test_a_server_that_crashes_wandbs_own_process_costs_no_record(tmp_path, server):
    done = train_online(tmp_path, **server.environment())
    check_complete(tmp_path, done)
    # The lines before it are those of wandb's process.
    assert done.stderr.splitlines()[-1].startswith("W&B is off for this run")


@pytest.mark.parametrize("server", ["dies"], indirect=True)
def test_figures_that_a_server_did_not_take_are_a_line_and_exit_code_2(tmp_path, server):
    done = call(tmp_path, "-c", PUBLISH, tmp_path, **server.environment())
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "run the command again when it can be reached" in done.stderr
