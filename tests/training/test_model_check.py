"""Models of a user: what is refused before the data are converted, with one line, and what runs."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
import unusual_models
from entry_points import PLAIN, TINY, Train, on_ranks

from clr.config import load
from clr.errors import UserError
from clr.training import model_check
from clr.training.model_check import check_model
from clr.training.models import build_model
from clr.training.optimizers import check_optimizer


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch):
    monkeypatch.setattr(model_check, "_checked", set())


def own(target, *arguments, module="unusual_models"):
    """Overrides for a model of one's own, instead of the ResNet's keys."""
    removed = ["~model.stem", "~model.init", "~model.norm"]
    named = ["model.name=mine", f"model._target_={module}.{target}"]
    return [*removed, *named, *arguments]


def mistake(*overrides):
    with pytest.raises(UserError) as caught:
        check_model(load(overrides), 10)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (own("Nope"), "next to train.py or in a folder of PYTHONPATH"),
        (own("Nope"), "cannot be imported (unusual_models has no Nope); give _target_ as MODULE"),
        (own("Net", module="nowhere"), 'cannot be imported (ModuleNotFoundError("No module named'),
        (own("SmallNet", "+model.depth=3"), "cannot be built with depth=3, num_classes=10: "),
        (own("without_classes"), "unexpected keyword argument 'num_classes'"),
        (
            own("refusing_net", "+model.depth=4"),
            "depth=4 is too large; use at most 3 (unusual_models.py, line ",
        ),
        (own("not_a_module"), "gives a function; let the factory return a torch.nn.Module"),
        (["model.stem=large"], "stem=large is not one of imagenet, cifar"),
        (["model.norm=null"], "norm=None is not one of batch, sync, group"),
        (own("Returns", "+model.form='tuple in training'"), "returns a tuple; let it return one"),
        (own("Returns", "+model.form='one too many'"), "of shape (2, 11) for 2 images and 10 cl"),
        (own("Returns", "+model.form='no batch'"), "of shape (10,) for 2 images and 10 classes"),
        (own("Returns", "+model.form=detached"), "does not depend on its parameters"),
        (
            own("flat_net", "+model.size=28"),
            "does not take images of 32×32 pixels: mat1 and mat2 shapes cannot be multiplied "
            "(2x3072 and 2352x10); it takes 28×28, so use dataset.resolution=28",
        ),
        (own("flat_net", "+model.size=29"), "(2x3072 and 2523x10); use another dataset.resolution"),
        (own("SmallNet", "+model.channels=1"), "takes images of 1 channel; let it take 3"),
        (own("ViewNet"), "Use .reshape(...) instead. (unusual_models.py, line "),
        (own("lazy_net"), "has lazy layers"),
        (own("frozen_net"), "has no parameters to train"),
        (
            own("vit_b_16", module="torchvision.models"),
            "Wrong image height! Expected 224 but got 32!; it takes 224×224",
        ),
        (own("googlenet", module="torchvision.models"), "returns a GoogLeNetOutputs"),
        (
            own("resnet18", "+model.weights=DEFAULT", module="torchvision.models"),
            "expected value 1000 but got 10",
        ),
        (["model.norm=sync", "diagnostics.every=2"], "use model.norm=batch or group"),
        (own("Attention", "diagnostics.every=2"), "needs second derivatives, which model mine"),
    ],
)
def test_a_model_that_cannot_be_used_is_a_users_mistake(overrides, message):
    assert message in mistake("device=cpu", *overrides)


def test_an_optimizer_may_need_second_derivatives():
    cfg = load([*own("Attention"), "optimizer=dal"])
    with pytest.raises(UserError, match=r"optimizer dal .* needs second derivatives, .* another"):
        check_model(cfg, 10, with_curvature=check_optimizer(cfg.optimizer))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=resnet50", "diagnostics.every=2"],
        ["model.norm=sync"],
        own("SmallNet", "+model.width=3", "+model.dropout=0.5", "diagnostics.every=2"),
        own("PartlyFrozen", "diagnostics.every=2"),
        own("UnusedParameter", "diagnostics.every=2"),
        own("Attention"),
        own("mobilenet_v3_small", module="torchvision.models"),
        own("flat_net", "+model.size=9", "dataset.resolution=9"),
    ],
)
def test_other_models_are_accepted(overrides):
    check_model(load(overrides), 10)


@pytest.mark.parametrize(
    ("target", "error"), [("buggy_net", NameError), ("BuggyForward", AttributeError)]
)
def test_a_bug_keeps_its_traceback(target, error):
    with pytest.raises(error):
        check_model(load(own(target)), 10)


def test_a_model_that_may_need_a_gpu_is_left_to_the_training(monkeypatch):
    overrides = own("flat_net", "+model.size=29")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_model(load(overrides), 10)
    assert "device=cuda if it needs a GPU" in mistake("device=cpu", *overrides)


def test_a_model_is_tried_once_with_the_same_arguments_and_classes():
    counted = unusual_models.calls
    counted.clear()
    for num_classes, width in [(10, 3), (10, 3), (7, 3), (10, 4)]:
        check_model(load(own("counted_net", f"+model.width={width}")), num_classes)
    assert counted == [(10, 3), (7, 3), (10, 4)]


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_building_and_checking_leave_the_generators_as_they_are():
    seeds = (random.seed, np.random.seed, torch.manual_seed)
    for seed in seeds:
        seed(7)
    expected = draws()
    for seed in seeds:
        seed(7)
    cfg = load(own("drawing_net"))
    check_model(cfg, 10)
    build_model(cfg.model, 10, seed=3)
    assert draws() == expected


def test_the_seed_determines_the_initial_weights():
    config = load(own("drawing_net")).model
    first, again, other = (build_model(config, 10, seed) for seed in (2**40, 2**40, 5))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
        assert not torch.isclose(value, other.state_dict()[name]).all(), name
    bias = first.state_dict()["1.bias"][:3], other.state_dict()["1.bias"][:3]
    assert (bias[0] != bias[1]).all(), "a generator is not seeded"


def test_arguments_reach_the_factory():
    model = build_model(load(own("SmallNet", "+model.width=5")).model, 7, seed=0)
    assert (model.conv.out_channels, model.head.out_features) == (5, 7)


def test_several_ranks_need_a_gradient_of_each_parameter(tmp_path, free_port):
    first, _ = on_ranks(2, free_port, tmp_path, _refusal_of_unused_parameter)
    assert "the loss does not depend on spare, and several ranks" in first


def _refusal_of_unused_parameter(ranks):
    try:
        check_model(load(own("UnusedParameter")), 10)
    except UserError as error:
        return str(error)
    return "accepted"


@pytest.mark.parametrize("override", ["+model.form=detached", "+model.form=nothing"])
def test_the_check_comes_before_the_data(tmp_path, override):
    places = [f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"]
    environment = {"PYTHONPATH": "tests/training"}
    run = Train([*PLAIN, *places, *own("SmallNet", override)], tmp_path / "log", **environment)
    assert run.wait() == 2, run.output()
    assert run.output().count("\n") == 1, run.output()
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_model_of_ones_own_trains_with_all_settings(tmp_path):
    """Matrix products for small maps, the corridor meter and frozen weights."""
    places = [f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"]
    settings = ["small_maps=matmul", "diagnostics.every=3", "dataset.resolution=2"]
    fast = ["optimizer=sgd", "optimizer.lr=0.5", "epochs=10"]
    model = own("PartlyFrozen")
    run = Train([*TINY, *PLAIN, *places, *settings, *fast, *model], tmp_path / "log")
    assert run.wait() == 0, run.output()
    (folder,) = (tmp_path / "runs").glob("digits-mine-*")
    losses = pd.read_parquet(folder / "steps.parquet")["loss"]
    assert losses[-4:].mean() < losses[:4].mean()
    assert len(pd.read_parquet(folder / "corridor_meter.parquet")) == 14
