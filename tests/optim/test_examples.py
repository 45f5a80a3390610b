"""The examples run, learn, and take at each step the rate of the formula."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from watched_steps import check_rates, recorded_steps

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.stem != "digits")
STEPS = 70  # five epochs of 14 batches
ON_RANKS = {"data_parallel", "fsdp2"}
IN_PROCESS = sorted({path.stem for path in EXAMPLES} - ON_RANKS - {"grad_scaler"})


def epochs(output):
    """Loss and rate of each epoch that an example printed."""
    lines = re.findall(r"^epoch \d+: loss ([\d.]+), rate ([\d.]+)$", output, re.M)
    return [(float(loss), float(rate)) for loss, rate in lines]


@pytest.mark.parametrize("name", IN_PROCESS)
@pytest.mark.slow
def test_each_step_has_the_rate_of_the_formula(name):
    with recorded_steps() as steps:
        importlib.import_module(name).main()
    assert len(steps) == STEPS
    check_rates(steps)


def test_with_grad_scaler_the_rate_is_that_of_the_unscaled_loss(monkeypatch):
    taken, scaler_step = [], torch.amp.GradScaler.step

    def step(scaler, *args, **kwargs):
        before = len(steps)
        scaler_step(scaler, *args, **kwargs)
        taken.append(len(steps) > before)

    monkeypatch.setattr(torch.amp.GradScaler, "step", step)
    with recorded_steps() as steps:
        importlib.import_module("grad_scaler").main()
    assert len(taken) == STEPS
    assert not all(taken), "no scale overflowed"
    batches = [number for number, has_step in enumerate(taken) if has_step]
    check_rates(steps, batches, rel=1e-2)  # of float16


def run_on_two_ranks(name):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*torchrun, "--nproc-per-node", "2", f"examples/{name}.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", sorted(ON_RANKS))
@pytest.mark.slow
def test_two_ranks_take_the_steps_of_one_process(name, capsys):
    importlib.import_module("plain_loop").main()
    expected = epochs(capsys.readouterr().out)
    run = run_on_two_ranks(name)
    if "terminate called without an active exception" in run.stderr:
        # PyTorch ended a process before one of its own threads, which happens rarely.
        run = run_on_two_ranks(name)
    assert run.returncode == 0, run.stderr
    printed = epochs(run.stdout)
    assert len(printed) == len(expected) == 5
    for pair, expected_pair in zip(printed, expected, strict=True):
        assert pair == pytest.approx(expected_pair, abs=2e-3)


def test_examples_are_short_and_listed():
    page = (ROOT / "examples/README.md").read_text()
    listed = re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \|", page, re.M)
    assert sorted(listed) == [path.stem for path in EXAMPLES]
    long = [path.name for path in EXAMPLES if len(path.read_text().splitlines()) > 60]
    assert not long, long
