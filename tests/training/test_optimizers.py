"""Optimizers in the trainer: checked before anything is built, fed the mean loss, switched."""

import json
import math

import pandas as pd
import pytest
import torch
from entry_points import PLAIN, TINY, Train, on_ranks
from torch import nn
from unusual_optimizers import OptionalLoss

from clr import CLR
from clr.config import load
from clr.errors import UserError
from clr.runs.status import RunStatus
from clr.runs.store import Store
from clr.training.distributed import Ranks
from clr.training.optimizers import build_optimizer, check_optimizer, take_step


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+optimizer.momentum=nan"], "optimizer.momentum=nan is not a number"),
        (["+optimizer.momentum=abc"], "cannot be built with lr=0.1, momentum=abc"),
        (["+optimizer.foo=1"], "cannot be built with lr=0.1, foo=1"),
        (["optimizer._target_=torch.optim.Nope"], "cannot be imported (torch.optim has no Nope)"),
        (["+optimizer.nesterov=true"], "cannot be built with lr=0.1, nesterov=True"),
        (["optimizer._target_=torch.optim.LBFGS"], "its step requires closure"),
        (["optimizer._target_=torch.optim.SparseAdam"], "its step requires sparse gradients"),
        (
            ["optimizer._target_=unusual_optimizers.NeedsClosure"],
            "its step requires a closure",
        ),
        (
            ["optimizer._target_=torch.optim.NAdam", "+optimizer.betas=[0.9]"],
            "cannot be built with lr=0.1, betas=[0.9]: list index out of range",
        ),
        (
            [
                "optimizer._target_=torch.optim.Adam",
                "+optimizer.foreach=true",
                "+optimizer.fused=true",
            ],
            "cannot be `True` together",
        ),
        (["optimizer._target_=torch.nn.Identity"], "is not a torch.optim.Optimizer"),
        (
            ["~optimizer.lr", "optimizer._target_=unusual_optimizers.WithoutRate"],
            "param_groups have no number 'lr'",
        ),
    ],
)
def test_an_optimizer_that_cannot_be_used_is_a_users_mistake(overrides, message):
    with pytest.raises(UserError) as caught:
        check_optimizer(load(["optimizer=sgd", *overrides]).optimizer)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "target", ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Rprop", "Adafactor", "RMSprop"]
)
def test_pytorchs_own_optimizers_are_accepted(target):
    check_optimizer(load(["optimizer=sgd", f"optimizer._target_=torch.optim.{target}"]).optimizer)


def test_the_check_leaves_the_random_generator_as_it_is():
    generator = torch.get_rng_state()
    check_optimizer(load(["optimizer=sgd"]).optimizer)
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_bug_in_a_step_is_left_to_the_training():
    check_optimizer(load(["optimizer=sgd", "optimizer._target_=faulty.Breaks"]).optimizer)


@pytest.mark.parametrize("mistake", ["optimizer.lr=abc", "optimizer._target_=torch.optim.LBFGS"])
def test_the_check_comes_before_the_data(tmp_path, mistake):
    places = [f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"]
    run = Train([*PLAIN, *places, "optimizer=sgd", mistake], tmp_path / "log")
    assert run.wait() == 2, run.output()
    assert run.output().count("\n") == 1, run.output()
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "runs").exists()


def test_lists_reach_the_optimizer_as_lists():
    config = load(["optimizer=sgd", "optimizer._target_=torch.optim.NAdam"]).optimizer
    optimizer = build_optimizer({**config, "betas": [0.9, 0.95]}, nn.Linear(1, 1))
    assert type(optimizer.param_groups[0]["betas"]) is list


def _train_linear(ranks, optimizer_type):
    """Five steps on this rank's half of a batch; the rate and weights after them."""
    torch.manual_seed(0)
    x, y = torch.randn(32, 5), torch.randn(32, 1)
    model = nn.Linear(5, 1)
    network = ranks.wrap(model)
    optimizer = optimizer_type(model.parameters())
    mine = slice(ranks.rank, None, ranks.world_size)
    for _ in range(5):
        optimizer.zero_grad()
        loss = (network(x[mine]) - y[mine]).square().mean()
        loss.backward()
        rate, _ = take_step(optimizer, loss.detach(), ranks)
    return {"rate": torch.as_tensor(rate), "weight": model.weight.detach()}


@pytest.mark.parametrize("optimizer_type", [CLR, OptionalLoss])
def test_two_ranks_take_the_step_of_the_global_batch(tmp_path, free_port, optimizer_type):
    whole = _train_linear(Ranks(), optimizer_type)
    first, second = on_ranks(2, free_port, tmp_path, _train_linear, optimizer_type)
    for name in whole:
        assert torch.equal(first[name], second[name]), f"{name} differs between the ranks"
        assert torch.allclose(first[name], whole[name], rtol=1e-5), name


def test_a_step_leaves_the_callers_loss_as_it_is(tmp_path, free_port):
    assert on_ranks(2, free_port, tmp_path, _loss_after_step) == [1.0, 2.0]


def _loss_after_step(ranks):
    parameter = nn.Parameter(torch.ones(1))
    parameter.grad = torch.ones(1)
    loss = torch.tensor(1.0 + ranks.rank, dtype=torch.float64)
    take_step(OptionalLoss([parameter]), loss, ranks)
    return loss.item()


def _train(tmp_path, store, *overrides):
    """Train four steps through the entry point; return the run's folder."""
    places = [f"data_dir={tmp_path / 'data'}", f"store={tmp_path / store}"]
    small = [*TINY, *PLAIN, "dataset.train_samples=100", "optimizer=sgd"]
    run = Train([*small, *places, *overrides], tmp_path / f"{store}.log")
    assert run.wait() == 0, run.output()
    (folder,) = (tmp_path / store).iterdir()
    return folder


@pytest.mark.slow
def test_an_optimizer_with_modes_trains_in_one_and_is_evaluated_in_the_other(tmp_path):
    rate = "optimizer.lr=0.01"
    plain = _train(tmp_path, "plain", rate)
    switched = _train(tmp_path, "switched", rate, "optimizer._target_=unusual_optimizers.Switched")
    steps = [pd.read_parquet(run / "steps.parquet")["loss"] for run in (plain, switched)]
    pd.testing.assert_series_equal(*steps, check_exact=True)
    tested = pd.read_parquet(switched / "epochs.parquet")["test_loss"]
    assert tested.tolist() == pytest.approx([math.log(10)] * 2)
    same = _train(tmp_path, "same", rate, "optimizer._target_=unusual_optimizers.SameParameters")
    pd.testing.assert_series_equal(
        pd.read_parquet(same / "steps.parquet")["loss"], steps[0], check_exact=True
    )
    tested, usual = (pd.read_parquet(run / "epochs.parquet")["test_loss"] for run in (same, plain))
    assert (tested - usual).abs().min() > 1e-3, "batch norm's statistics were not computed again"


@pytest.mark.slow
def test_a_stored_run_is_strict_json_with_null_for_nan(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    folder = _train(tmp_path, "runs", "optimizer.lr=1e30")
    stored = json.loads((folder / "run.json").read_text(), parse_constant=refuse)
    assert stored["status"] == RunStatus.DIVERGED
    assert stored["summary"]["final_train_loss"] is None
    read = Store(tmp_path / "runs").finished(folder.name)
    assert math.isnan(read["summary"]["final_train_loss"])
