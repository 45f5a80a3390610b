"""Start `train.py` and groups of ranks in real processes, without importing torch in each.

A fork server imports torch once; a process then starts in a fraction of a second.
"""

import multiprocessing
import os
import resource
import sys
from pathlib import Path

import torch
import torch.distributed as dist

ROOT = Path(__file__).resolve().parent.parent
# The smallest run that is still real: digits through torch's loader, ResNet-18, eight steps.
TINY = ["dataset.train_samples=200", "dataset.test_samples=100", "batch_size=50", "epochs=2"]
PLAIN = ["loader=torch", "workers=0", "wandb.mode=disabled", "device=cpu"]

os.environ["PYTHONPATH"] = str(ROOT)  # for the fork server, which imports `train` from there
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["train"])


class Train:
    """`python train.py ARGS` in a new process with its output in the file `log`.

    With `starved`, the process may allocate 900 MB more than it starts with.
    """

    def __init__(self, args, log, starved=False, **environment):
        self.log = Path(log)
        arguments = [str(arg) for arg in args]
        self._process = _context.Process(
            target=_train, args=(arguments, str(log), starved, environment)
        )
        self._process.start()
        self.pid = self._process.pid

    def kill(self, signal_number):
        os.kill(self.pid, signal_number)

    def wait(self, timeout=120):
        """Return the exit code, which is negative for a signal."""
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
    """Start `n` ranks on this host as torchrun would; the rank number `starved` lacks memory."""
    common = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        Train(args, f"{log}{rank}", rank == starved, RANK=str(rank), LOCAL_RANK=str(rank), **common)
        for rank in range(n)
    ]


def on_ranks(n, port, folder, function, *args):
    """Call `function(ranks, *args)` in `n` processes of one gloo group; return their results.

    `function` is a module's, and returns tensors and plain values.
    """
    processes = [
        _context.Process(target=_call_on_rank, args=(rank, n, port, str(folder), function, args))
        for rank in range(n)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(n)]


def _call_on_rank(rank, n, port, folder, function, args):
    from clr.training.distributed import Ranks

    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=n)
    torch.save(function(Ranks(rank, n), *args), f"{folder}/rank{rank}.pt")
    leave_process_group()


def leave_process_group():
    """End this process when all ranks have come here.

    At a normal exit, gloo's threads abort now and then: to free a tensor they need the interpreter,
    which may have ended.
    """
    dist.barrier()
    os._exit(0)


def _train(args, log, starved, environment):
    os.environ.update(environment, OMP_NUM_THREADS="1")
    os.chdir(ROOT)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)

    import train
    from clr.cli import run_main

    torch.set_num_threads(1)
    if starved:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 900_000_000, resource.RLIM_INFINITY))
    sys.argv = ["train.py", *args]
    run_main(train.main)
