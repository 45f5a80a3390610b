"""Small sweeps for tests: 200 digits, CLR and SGD at two rates, four steps per epoch."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

from entry_points import PLAIN, ROOT
from hydra import compose, initialize_config_dir

from clr.config import CONFIGS, load
from clr.data import prepare

DATA = ["dataset.resolution=16", "dataset.train_samples=200", "dataset.test_samples=100"]
PROTOCOL = [
    "protocol=quick",
    "figure=[2]",
    "protocol.seeds=[0]",
    "protocol.tasks.cifar10.batch_size=50",
    "protocol.tasks.cifar10.batch_sizes=[50]",
    "protocol.tasks.cifar10.learning_rates=[0.01,0.1]",
    "protocol.tasks.cifar10.corridor_meter_every=null",
]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Folders:
    """The folders of a test, and how they are given on a command line."""

    data: str
    store: str
    results: str

    def train_arguments(self):
        return [*DATA, "batch_size=50", *PLAIN, f"data_dir={self.data}", f"store={self.store}"]

    def sweep_arguments(self, *overrides):
        """Of sweep.py; `train.KEY=VALUE` among the overrides wins over the defaults here."""
        train = [*DATA, *PLAIN, f"data_dir={self.data}"]
        return [
            *PROTOCOL,
            *(f"train.{override}" for override in train),
            f"store={self.store}",
            f"results={self.results}",
            *overrides,
        ]

    def prepare_data(self):
        return prepare(load(DATA).dataset, self.data, "torch")


def start(*command, environment=None):
    """Start a script of the repository; its output is one text."""
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=ENVIRONMENT | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # In the background of a script, tests ignore Ctrl-C, which their processes would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run(*command, environment=None):
    """Run a script of the repository to its end: exit code and output."""
    process = start(*command, environment=environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


@contextmanager
def composed_sweep(*command_line):
    """configs/sweep.yaml with the overrides of a command line, inside Hydra's search path."""
    from sweep import arguments

    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield compose("sweep", overrides=arguments([str(word) for word in command_line]))


def compose_train(*overrides):
    """configs/train.yaml with overrides, as Hydra's multirun composes it."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", overrides=list(overrides))
