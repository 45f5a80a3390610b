"""The schedule of an optimizer's config: rates, refusals, and what a run records."""

import pandas as pd
import pytest
import torch
from entry_points import PLAIN, TINY, Train, ranks
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from unusual_optimizers import OptionalLoss

from clr.config import load
from clr.errors import UserError
from clr.training.optimizers import build_optimizer, check_optimizer, take_step
from clr.training.schedules import Schedule

COSINE = ["optimizer=sgd_momentum_cosine"]


def scheduled(fraction, lr=0.1):
    """The config of SGD without momentum with a schedule."""
    overrides = ["optimizer.momentum=0", f"optimizer.schedule.warmup_fraction={fraction}"]
    return load([*COSINE, *overrides, f"optimizer.lr={lr}"]).optimizer


def used_rates(config, steps, taken=0, optimizer=None):
    """The rates that SGD really uses from step `taken` to the last: its parameter falls by them."""
    parameter = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = optimizer or torch.optim.SGD([{"params": [parameter], "initial_lr": 0.1}], lr=0.1)
    schedule = Schedule(config, optimizer, steps, taken)
    used, recorded = [], []
    for _ in range(taken, steps):
        parameter.grad = torch.ones_like(parameter)
        before = parameter.item()
        rate, _ = take_step(optimizer, torch.zeros(()))
        schedule.after_step()
        used.append(before - parameter.item())
        recorded.append(rate)
    assert recorded == pytest.approx(used, abs=1e-15)
    return recorded


def test_the_rate_warms_up_linearly_and_falls_as_half_a_cosine():
    rates = used_rates(scheduled(0.25), 8)
    after = [0.1 * 0.5 * (1 + torch.tensor(torch.pi * k / 6).double().cos()) for k in range(6)]
    assert rates == pytest.approx([0.1 / 3, 0.2 / 3, *map(float, after)], rel=1e-6)


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 0.99])
def test_the_rates_are_those_of_pytorchs_linear_and_cosine_schedulers(fraction):
    steps, warmup = 10, min(round(10 * fraction), 9)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=0.1)
    linear = LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup) if warmup else None
    cosine = CosineAnnealingLR(optimizer, steps - warmup)
    scheduler = SequentialLR(optimizer, [linear, cosine], [warmup]) if linear else cosine
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert used_rates(scheduled(fraction), steps) == pytest.approx(expected, rel=1e-9)
    assert min(expected) > 0


def test_a_resumed_schedule_has_the_same_rates_to_the_bit():
    whole = used_rates(scheduled(0.25), 8)
    for taken in range(1, 8):
        assert used_rates(scheduled(0.25), 8, taken) == whole[taken:]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.schedule=cosine"], "must have the two keys name and warmup_fraction"),
        (["~optimizer.schedule.name"], "must have the two keys name and warmup_fraction; write"),
        (["+optimizer.schedule.min=1"], "must have the two keys name and warmup_fraction"),
        (["optimizer.schedule.name=step"], "schedule.name=step is unknown; use warmup_cosine"),
        (["optimizer.schedule.warmup_fraction=1"], "warmup_fraction=1 is not a share of the steps"),
        (["optimizer.schedule.warmup_fraction=-0.1"], "warmup_fraction=-0.1 is not a share"),
        (["optimizer.schedule.warmup_fraction=nan"], "warmup_fraction=nan is not a share"),
        (["optimizer.schedule.warmup_fraction=true"], "warmup_fraction=true is not a share"),
        (["optimizer.schedule.warmup_fraction=null"], "warmup_fraction=null is not a share"),
    ],
)
def test_a_wrong_schedule_is_refused(overrides, message):
    with pytest.raises(UserError) as caught:
        load([*COSINE, *overrides])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


SCHEDULE = "+optimizer.schedule={name:warmup_cosine,warmup_fraction:0.1}"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["optimizer=clr"], "computes the rate of each step itself"),
        (["optimizer=clr_warmup"], "computes the rate of each step itself"),
        (
            ["optimizer=sgd", "optimizer._target_=unusual_optimizers.OptionalLoss"],
            "computes the rate of each step itself",
        ),
        (
            ["optimizer=sgd", "optimizer._target_=unusual_optimizers.Switched"],
            "averages its parameters over the steps in place of a schedule",
        ),
    ],
)
def test_an_optimizer_that_computes_its_own_rate_takes_no_schedule(overrides, reason):
    with pytest.raises(UserError, match=f"optimizer.schedule cannot be used with .*{reason}"):
        check_optimizer(load([*overrides, SCHEDULE]).optimizer)


def test_a_rate_that_is_replaced_only_by_a_real_step_is_noticed_then():
    """Under several ranks there is no trial step."""
    config = {**scheduled(0), "_target_": "unusual_optimizers.OptionalLoss"}
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(config, model)
    assert isinstance(optimizer, OptionalLoss)
    schedule = Schedule(config, optimizer, 5)
    model.weight.grad, model.bias.grad = torch.ones(1, 1), torch.ones(1)
    take_step(optimizer, torch.ones(()))
    with pytest.raises(UserError, match="computes the rate of each step itself"):
        schedule.after_step()


@pytest.mark.slow
def test_the_rates_on_record_are_scheduled_over_all_steps_of_the_run(tmp_path, free_port):
    """With two ranks and two micro-batches, the schedule counts steps."""
    args = [*TINY, *PLAIN, *COSINE, "optimizer.schedule.warmup_fraction=0.25"]
    places = [f"data_dir={tmp_path / 'data'}"]
    expected = used_rates({**scheduled(0.25)}, 8)
    one = Train([*args, *places, f"store={tmp_path / 'one'}"], tmp_path / "log")
    assert one.wait() == 0, one.output()
    small = ["batch_size=48", "device_batch_size=12", f"store={tmp_path / 'two'}"]
    pair = ranks(2, free_port, [*args, *places, *small], tmp_path / "rank")
    assert [rank.wait() for rank in pair] == [0, 0], [rank.output() for rank in pair]
    for store in ("one", "two"):
        (folder,) = (tmp_path / store).iterdir()
        recorded = pd.read_parquet(folder / "steps.parquet")["learning_rate"]
        assert recorded.tolist() == pytest.approx([0.3 * rate for rate in expected], rel=1e-12)
