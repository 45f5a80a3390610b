"""Several real processes that train one run: the same numbers however the batch is cut, and no hang when one fails."""

import os
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from entry_points import PLAIN, ROOT, TINY, Train, ranks
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from clr import CLR
from clr.errors import UserError
from clr.training.distributed import Ranks, divide

# Without batch statistics the loss does not depend on how a batch is cut; in float64, since ten steps of training turn
# a last bit of float32 into a percent.
GROUP = [
    *TINY,
    *PLAIN,
    "model.norm=group",
    "dataset.train_samples=120",
    "batch_size=40",
    "precision=fp64",
]


def trace(folder):
    (run,) = folder.iterdir()
    return pd.read_parquet(run / "steps.parquet"), pd.read_parquet(run / "epochs.parquet")


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        (["optimizer=clr"], ["1x40", "2x20", "2x10x2", "1x10x4"]),
        (["optimizer=sgd", "optimizer.lr=0.01", "+optimizer.momentum=0.9"], ["1x40", "2x10x2"]),
    ],
)
def test_one_batch_however_it_is_cut(tmp_path, free_port, optimizer, names):
    cuts = {"1x40": (1, 40), "2x20": (2, 20), "2x10x2": (2, 10), "1x10x4": (1, 10)}
    traces = {}
    for i, name in enumerate(names):
        n, at_once = cuts[name]
        args = [*GROUP, *optimizer, f"device_batch_size={at_once}"]
        args += [f"data_dir={tmp_path / 'data'}", f"store={tmp_path / name}"]
        if n == 1:
            processes = [Train(args, tmp_path / f"{name}.log")]
        else:
            processes = ranks(n, free_port + i, args, tmp_path / f"{name}.log")
        assert [p.wait() for p in processes] == [0] * n, [p.output() for p in processes]
        traces[name] = trace(tmp_path / name)
    steps, epochs = traces.pop("1x40")
    assert steps["samples"].tolist() == list(range(40, 241, 40))
    for other_steps, other_epochs in traces.values():
        for column in ("loss", "learning_rate", "grad_norm_sq"):
            assert other_steps[column].tolist() == pytest.approx(steps[column].tolist(), rel=1e-9)
        assert other_epochs["test_loss"].tolist() == pytest.approx(
            epochs["test_loss"].tolist(), rel=1e-9
        )
        assert other_epochs["test_top5_accuracy"].between(other_epochs["test_accuracy"], 1).all()


def test_torchrun_itself(tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "train.py",
        *GROUP,
    ]
    done = subprocess.run(
        [*command, f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished: 6 steps") == 1  # rank 0 alone prints and writes
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_one_ranks_failure_ends_the_other_with_its_message(tmp_path, free_port, rank):
    args = [
        *PLAIN,
        "batch_size=1400",
        "dataset.resolution=96",
        f"data_dir={tmp_path / 'data'}",
        f"store={tmp_path / 'runs'}",
    ]
    pair = ranks(2, free_port, args, tmp_path / "log", starved=rank)
    assert pair[rank].wait() == 2, pair[rank].output()
    start = time.monotonic()
    assert pair[1 - rank].wait() == 1, pair[1 - rank].output()
    assert time.monotonic() - start < 60
    for process in pair:  # the rank that has no memory says so, and so does the other for it
        assert "no memory for 700 images at once; set device_batch_size" in process.output()
        assert "Traceback" not in process.output()
    assert f"rank {rank} failed" in pair[1 - rank].output()


def test_a_users_mistake_is_told_without_a_traceback_by_all_ranks(tmp_path, free_port):
    pair = ranks(
        2, free_port, [*GROUP, "batch_size=41", f"data_dir={tmp_path / 'data'}"], tmp_path / "log"
    )
    assert {p.wait(60) for p in pair} <= {1, 2}
    for p in pair:
        assert "cannot be shared evenly by 2 ranks" in p.output() and "Traceback" not in p.output()


def _count_messages(rank, port, out):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    members, sent = Ranks(rank, 2), []
    net = members.wrap(nn.Linear(3, 1))

    def send(state, bucket):
        sent.append(bucket.buffer().numel())
        return allreduce_hook(None, bucket)

    net.register_comm_hook(None, send)
    for part in range(1, 5):
        with members.no_sync(net, when=part < 4):
            (net(torch.full((2, 3), float(rank + part))).mean() / 4).backward()
    torch.save((sent, net.module.weight.grad), f"{out}/{rank}.pt")
    dist.barrier()
    os._exit(
        0
    )  # gloo's threads let go of a hook in Python when the interpreter ends, which aborts one time in ten


def test_micro_batches_send_their_gradients_once(tmp_path, free_port):
    mp.spawn(_count_messages, (free_port, tmp_path), nprocs=2)
    for rank in range(2):
        sent, grad = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert sent == [4]  # three weights and a bias, in one message for four backward passes
        assert grad.tolist() == [[3.0] * 3]  # the mean of 1..4 and of 2..5


def _take_steps(rank, port, out):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(0)
    x, y = torch.randn(32, 5), torch.randn(32, 1)
    model = nn.parallel.DistributedDataParallel(nn.Linear(5, 1))
    optimizer = CLR(model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        loss = (model(x[rank::2]) - y[rank::2]).square().mean()
        loss.backward()
        optimizer.step(loss=loss)
    torch.save((optimizer.param_groups[0]["lr"], model.module.state_dict()), f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_take_the_step_of_the_global_batch(tmp_path, free_port):
    mp.spawn(_take_steps, (free_port, tmp_path), nprocs=2)
    torch.manual_seed(0)
    x, y = torch.randn(32, 5), torch.randn(32, 1)
    model = nn.Linear(5, 1)
    # DistributedDataParallel broadcasts rank 0's weights, made after the same draws as these
    optimizer = CLR(model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step(loss=loss)
    for rank in range(2):
        lr, state = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert lr.item() == pytest.approx(optimizer.param_groups[0]["lr"].item(), rel=1e-5)
        assert torch.allclose(state["weight"], model.weight, rtol=1e-5)


@pytest.mark.parametrize(
    ("batch", "n", "cap", "parts"),
    [
        (64, 1, None, 1),
        (64, 2, None, 1),
        (64, 2, 16, 2),
        (64, 1, 4, 16),
        (125, 1, 50, 5),
        (4096, 8, 512, 1),
    ],
)
def test_division_is_the_coarsest_that_fits(batch, n, cap, parts):
    assert divide(batch, n, cap) == parts


@pytest.mark.parametrize(("batch", "n", "cap"), [(10, 3, None), (127, 1, 50), (2, 2, None)])
def test_division_that_cannot_be_is_refused(batch, n, cap):
    with pytest.raises(UserError, match="batch_size"):
        divide(batch, n, cap)
