"""Runs the program's doors in processes of their own, as a user or a scheduler would, without importing torch anew."""

import multiprocessing
import os
import resource
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The smallest run that is still real: digits through torch's loader, ResNet-18, eight steps.
TINY = ["dataset.train_samples=200", "dataset.test_samples=100", "batch_size=50", "epochs=2"]
PLAIN = ["loader=torch", "workers=0", "wandb.mode=disabled", "device=cpu"]

os.environ["PYTHONPATH"] = str(ROOT)  # where the fork server finds what it preloads
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["train"])


class Train:
    """`python train.py ARGS` in a new process; its output goes to the file `log`."""

    def __init__(self, args, log, starved=False, **environment):
        self.log = Path(log)
        self._process = _context.Process(
            target=_train, args=([str(a) for a in args], str(log), starved, environment)
        )
        self._process.start()
        self.pid = self._process.pid

    def kill(self, signal_number):
        os.kill(self.pid, signal_number)

    def wait(self, timeout=120):
        """The exit status, negative for a signal."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"still running after {timeout} s: {self.output()}")
        return self._process.exitcode

    def running(self):
        return self._process.is_alive()

    def output(self):
        return self.log.read_text() if self.log.exists() else ""


def ranks(n, port, args, log, starved=None):
    """Two or more ranks, as torchrun would start them on one host; the one whose number is `starved` lacks memory."""
    common = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        Train(args, f"{log}{r}", r == starved, RANK=str(r), LOCAL_RANK=str(r), **common)
        for r in range(n)
    ]


def _train(args, log, starved, environment):
    os.environ.update(environment, OMP_NUM_THREADS="1")
    os.chdir(ROOT)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    import torch

    import train
    from clr.cli import run_main

    torch.set_num_threads(1)
    if starved:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 900_000_000, resource.RLIM_INFINITY))
    sys.argv = ["train.py", *args]
    run_main(train.main)
