"""Arguments and configs of the optimizers of clr.methods."""

import math

import pytest
import torch
import yaml
from method_cases import build_model, train
from optim_cases import constant_grad, rate, skipped
from torch import nn

import clr.methods
from clr.config import CONFIGS, load
from clr.methods import ALIG, DAL, NGN, MoMo, PolyakSGD
from clr.training.optimizers import check_optimizer


@pytest.mark.parametrize(
    ("build", "options", "error", "message"),
    [
        (PolyakSGD, {"c": 0}, ValueError, "c must be finite and positive, got 0"),
        (PolyakSGD, {"c": "1"}, TypeError, "c must be a real number, got '1'"),
        (PolyakSGD, {"delta": -1}, ValueError, "delta must be finite, at least 0, got -1"),
        (PolyakSGD, {"cap_growth": 0.5}, ValueError, "cap_growth must be finite, at least 1, got"),
        (PolyakSGD, {"momentum": 1}, ValueError, "momentum must be finite, at least 0 and below 1"),
        (PolyakSGD, {"weight_decay": math.nan}, ValueError, "weight_decay must be finite"),
        (NGN, {"c": math.inf}, ValueError, "c must be finite and positive, got inf"),
        (MoMo, {"beta": -0.1}, ValueError, "beta must be finite, at least 0 and below 1, got -0.1"),
        (DAL, {"power": 0}, ValueError, "power must be finite and positive"),
        (ALIG, {"max_lr": -1}, ValueError, "max_lr must be None or at least 0"),
    ],
)
def test_wrong_arguments(build, options, error, message):
    with pytest.raises(error, match=message):
        build(build_model().parameters(), **options)


def test_hyperparameters_of_the_one_rate_are_the_same_in_all_groups():
    model = build_model()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "c": 3.0}]
    with pytest.raises(ValueError, match="c differs between groups; use the same in all groups"):
        NGN(groups)
    optimizer = PolyakSGD(
        [{"params": model[0].parameters()}, {"params": model[2].parameters(), "weight_decay": 0.1}]
    )
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0, 0.1]
    optimizer.param_groups[1]["c"] = 2.0
    with pytest.raises(ValueError, match="c differs between groups"):
        train(model, optimizer, range(1))


def test_dal_needs_a_finite_curvature_which_is_used_once():
    p = constant_grad(4, 0.5)
    optimizer = DAL([p], max_lr=0.7)
    with pytest.raises(ValueError, match="DAL needs the curvature of this step: call set_curv"):
        optimizer.step(loss=1.0)
    for curvature, right in [(100.0, 0.2), (0.0, 0.7), (math.nan, 0.0), (math.inf, 0.0)]:
        optimizer.set_curvature(curvature)
        optimizer.step(loss=-1.0)  # the rate does not depend on the loss
        assert rate(optimizer) == pytest.approx(right)
    assert skipped(optimizer) == 2
    assert p.tolist() == pytest.approx([1 - 0.5 * (0.2 + 0.7)] * 4)
    with pytest.raises(ValueError, match="DAL needs the curvature"):
        optimizer.step(loss=1.0)


def test_a_compiled_function_may_give_the_curvature():
    p = nn.Parameter(torch.ones(4))
    optimizer = DAL([p], power=0.5)

    def train_step():
        loss = p.square().sum()
        loss.backward()
        optimizer.set_curvature(torch.tensor(100.0))
        optimizer.step(loss=loss)

    torch.compile(train_step, backend="eager")()
    assert rate(optimizer) == pytest.approx(0.2)


CONFIG_FILES = sorted(
    path
    for path in (CONFIGS / "optimizer").glob("*.yaml")
    if any(f"clr.methods.{name}\n" in path.read_text() for name in clr.methods.__all__)
)


@pytest.mark.parametrize("path", CONFIG_FILES, ids=lambda path: path.stem)
def test_its_config_builds_it_and_its_grid_has_the_default(path):
    check_optimizer(load([f"optimizer={path.stem}"]).optimizer)
    written = yaml.safe_load(path.read_text())
    assert written["name"] == path.stem
    assert len(written["tuning"]["values"]) == 4
    assert written[written["tuning"]["key"]] in written["tuning"]["values"]


def test_each_optimizer_has_a_config():
    written = "".join(path.read_text() for path in CONFIG_FILES)
    assert all(f"clr.methods.{name}\n" in written for name in clr.methods.__all__)
