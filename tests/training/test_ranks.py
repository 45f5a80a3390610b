"""Several real processes that train one run: the same numbers, and no hang when one fails."""

import os
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from entry_points import PLAIN, ROOT, TINY, Train, on_ranks, ranks
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from clr.config import load
from clr.data import prepare
from clr.errors import UserError
from clr.training.distributed import BatchDivision, Ranks, divide
from clr.training.evaluation import evaluate
from clr.training.setup import build_setup

pytestmark = pytest.mark.slow

# Without batch statistics the loss does not depend on how a batch is divided. In float64, because
# ten steps of training magnify the last bit of float32 to a percent.
GROUP = [
    *TINY,
    *PLAIN,
    "model.norm=group",
    "dataset.train_samples=80",
    "dataset.test_samples=50",
    "batch_size=40",
    "precision=fp64",
]
TESTS = str(ROOT / "tests" / "training")


def places(tmp, store="runs"):
    return [f"data_dir={tmp / 'data'}", f"store={tmp / store}"]


def train_divided(tmp, port, name, n, args):
    """Train a run on `n` ranks; return its steps and epochs."""
    args, log = [*args, *places(tmp, name)], tmp / f"{name}.log"
    processes = [Train(args, log)] if n == 1 else ranks(n, port, args, log)
    assert [p.wait() for p in processes] == [0] * n, [p.output() for p in processes]
    (run,) = (tmp / name).iterdir()
    return pd.read_parquet(run / "steps.parquet"), pd.read_parquet(run / "epochs.parquet")


@pytest.mark.parametrize(
    ("optimizer", "divisions"),
    [
        (["optimizer=clr"], [(2, 20), (2, 10), (1, 10)]),
        (["optimizer=sgd", "optimizer.lr=0.01", "+optimizer.momentum=0.9"], [(2, 10)]),
        (["optimizer=dog"], [(2, 10)]),
    ],
    ids=["clr", "momentum", "dog"],
)
def test_the_division_of_a_batch_does_not_change_the_numbers(
    tmp_path, free_port, optimizer, divisions
):
    args = [*GROUP, *optimizer]
    steps, epochs = train_divided(tmp_path, None, "whole", 1, args)
    assert steps["samples"].tolist() == [40, 80, 120, 160]
    for i, (n, micro_batch_size) in enumerate(divisions):
        cut = [*args, f"device_batch_size={micro_batch_size}"]
        name = f"{n}x{micro_batch_size}"
        other_steps, other_epochs = train_divided(tmp_path, free_port + i, name, n, cut)
        for column in ("loss", "learning_rate", "grad_norm_sq"):
            expected = pytest.approx(steps[column].tolist(), rel=1e-9)
            assert other_steps[column].tolist() == expected, (name, column)
        expected = pytest.approx(epochs["test_loss"].tolist(), rel=1e-9)
        assert other_epochs["test_loss"].tolist() == expected, name
        assert other_epochs["test_top5_accuracy"].between(other_epochs["test_accuracy"], 1).all()


def torchrun(tmp, *args):
    """Train with two ranks under `torchrun --standalone`."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [sys.executable, *launch, *args, *places(tmp)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{TESTS}"},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_torchrun_trains_one_run(tmp_path):
    done = torchrun(tmp_path, "train.py", *GROUP, "epochs=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished: 2 steps") == 1, "rank 0 alone prints"
    assert len(list((tmp_path / "runs").iterdir())) == 1, "rank 0 alone writes"


def test_a_failed_rank_is_restarted_by_torchrun(tmp_path):
    fails_once = ["optimizer=sgd", "optimizer._target_=faulty.FailsInFirstAttempt"]
    done = torchrun(tmp_path, "--max-restarts=1", "train.py", *GROUP, *fails_once, "epochs=1")
    assert done.returncode == 0, done.stderr
    assert "a fault that a restart removes" in done.stderr
    assert done.stdout.count("finished: 2 steps") == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_one_ranks_failure_ends_the_other_with_its_message(tmp_path, free_port, rank):
    large = ["batch_size=1400", "dataset.resolution=96"]
    pair = ranks(2, free_port, [*PLAIN, *large, *places(tmp_path)], tmp_path / "log", starved=rank)
    assert pair[rank].wait() == 2, pair[rank].output()
    start = time.monotonic()
    assert pair[1 - rank].wait() == 1, pair[1 - rank].output()
    assert time.monotonic() - start < 60
    for process in pair:
        assert "no memory for 700 images at once; set device_batch_size" in process.output()
        assert "Traceback" not in process.output()
    assert f"rank {rank} failed" in pair[1 - rank].output()


def test_a_users_mistake_has_no_traceback_on_any_rank(tmp_path, free_port):
    pair = ranks(2, free_port, [*GROUP, "batch_size=41", *places(tmp_path)], tmp_path / "log")
    assert {process.wait(60) for process in pair} <= {1, 2}
    for process in pair:
        assert "cannot be shared evenly by 2 ranks" in process.output()
        assert "Traceback" not in process.output()


def test_ranks_that_take_different_steps_are_noticed(tmp_path, free_port):
    by_rank = ["optimizer=sgd", "optimizer._target_=faulty.StepsByRank", "epochs=1"]
    pair = ranks(2, free_port, [*GROUP, *by_rank, *places(tmp_path)], tmp_path / "log")
    assert {process.wait(60) for process in pair} <= {1, 2}
    for process in pair:
        assert "the ranks have different parameters after step 2" in process.output()
        assert "Traceback" not in process.output()


def _compare_parameters(members, changed):
    """Return the error, or an empty text, when rank 1 changes one bit of a parameter."""
    model = nn.Linear(3, 2)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
        if changed and members.rank == 1:
            bits = model.bias.view(torch.int32)
            bits[1] ^= 1
    try:
        members.require_equal(model.named_parameters(), "now")
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("changed", [True, False])
def test_a_difference_of_one_bit_is_an_error_on_all_ranks(tmp_path, free_port, changed):
    errors = on_ranks(2, free_port, tmp_path, _compare_parameters, changed)
    for error in errors:
        assert ("different parameters now: bias" in error) == changed


def _evaluate(members, overrides, shifts):
    """Evaluate the initial network with running means that are shifted by a number per rank."""
    cfg = load(overrides)
    setup = build_setup(cfg, prepare(cfg.dataset, cfg.data_dir, cfg.loader), members)
    for name, buffer in setup.model.named_buffers():
        if name.endswith("running_mean"):
            buffer += shifts[members.rank]
    metrics = evaluate(setup, members)
    return [metrics.loss, metrics.accuracy, metrics.top5_accuracy]


def test_all_ranks_evaluate_with_rank_0s_statistics_of_batch_norm(tmp_path, free_port):
    small = ["dataset.train_samples=50", "dataset.test_samples=20"]
    overrides = [*TINY, *PLAIN, *small, "precision=fp64", f"data_dir={tmp_path / 'data'}"]
    first = _evaluate(Ranks(), overrides, [-0.1])
    second = _evaluate(Ranks(), overrides, [-0.2])
    assert first[0] != pytest.approx(second[0], rel=1e-3), "the statistics have no effect"
    for metrics in on_ranks(2, free_port, tmp_path, _evaluate, overrides, [-0.1, -0.2]):
        assert metrics == pytest.approx(first, rel=1e-9)


def _count_messages(members):
    """Return the sizes of the gradient messages of a step of four micro-batches, and a gradient."""
    sent = []
    network = members.wrap(nn.Linear(3, 1))

    def send(state, bucket):
        sent.append(bucket.buffer().numel())
        return allreduce_hook(None, bucket)

    network.register_comm_hook(None, send)
    for micro_step in range(4):
        images = torch.full((2, 3), 1.0 + members.rank + micro_step)
        with members.no_sync(network, when=micro_step < 3):
            (network(images).mean() / 4).backward()
    return [sent, network.module.weight.grad.tolist()]


def test_gradients_of_micro_batches_are_sent_once(tmp_path, free_port):
    for sent, gradient in on_ranks(2, free_port, tmp_path, _count_messages):
        assert sent == [4], "three weights and a bias, in one message"
        assert gradient == [[3.0] * 3], "the mean of 1..4 and of 2..5"


@pytest.mark.parametrize(
    ("batch_size", "n", "largest", "division"),
    [
        (64, 1, None, BatchDivision(1, 1, 64)),
        (64, 2, None, BatchDivision(2, 1, 32)),
        (64, 2, 16, BatchDivision(2, 2, 16)),
        (64, 1, 4, BatchDivision(1, 16, 4)),
        (125, 1, 50, BatchDivision(1, 5, 25)),
        (4096, 8, 512, BatchDivision(8, 1, 512)),
    ],
)
def test_a_batch_is_divided_into_the_fewest_micro_batches(batch_size, n, largest, division):
    assert divide(batch_size, n, largest) == division


@pytest.mark.parametrize(
    ("batch_size", "n", "largest"), [(10, 3, None), (127, 1, 50), (2, 2, None)]
)
def test_a_batch_without_a_division_is_a_users_mistake(batch_size, n, largest):
    with pytest.raises(UserError, match="batch_size"):
        divide(batch_size, n, largest)
