"""Run ids: published ids stay, and configs that mean the same numbers have the same id."""

import json
from dataclasses import asdict, replace

import pytest
from entry_points import ROOT

from clr.config import from_dict, load
from clr.errors import UserError
from clr.runs.identity import run_id, wandb_id

FINGERPRINT = "f" * 64
SGD = ("optimizer=sgd",)
MOMENTUM, COSINE = (
    (f"optimizer={name}", "optimizer.lr=0.03") for name in ("sgd_momentum", "sgd_momentum_cosine")
)
CAP_OFF = "optimizer.max_lr=null"
FRACTION = "optimizer.schedule.warmup_fraction"
OWN = (
    *("~model.stem", "~model.init", "~model.norm"),
    *("model.name=net", "model._target_=torchvision.models.mobilenet_v3_small"),
)


def name(*overrides):
    return run_id(load(overrides), FINGERPRINT)


def committed_runs(protocol):
    lines = (ROOT / "results" / protocol / "runs.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("protocol", "fewest"), [("quick", 30), ("cpu", 30), ("overnight", 11)])
def test_ids_of_committed_runs_are_reproduced(protocol, fewest):
    runs = committed_runs(protocol)
    assert len(runs) >= fewest
    for run in runs:
        assert run_id(from_dict(run["config"]), run["data"]["fingerprint"]) == run["run_id"]


def test_stored_configs_without_a_target_are_those_of_the_resnets():
    """Committed runs were stored before models had a `_target_`, some without `init` or `norm`."""
    for run in committed_runs("cpu"):
        config = run["config"]
        config["model"] = {k: v for k, v in config["model"].items() if k in ("name", "stem")}
        if run["config"]["model"]["name"] == "resnet18":
            current = load(["model=resnet18"]).model
            assert from_dict(config).model == current
    with pytest.raises(UserError, match="the model's config has no _target_; see configs/model"):
        from_dict({**config, "model": {"name": "mine"}})


def test_a_stored_config_with_a_target_is_kept():
    cfg = load(OWN)
    assert from_dict(asdict(cfg)) == cfg
    assert from_dict(asdict(load(["model=resnet50"]))).model["init"] == "zero"


@pytest.mark.parametrize(
    "overrides",
    [
        ["workers=3"],
        ["store=/x"],
        ["wandb.mode=disabled"],
        ["mirror=tensorboard"],
        ["loader=torch"],
        ["device=cpu"],
        ["progress=false"],
        ["diagnostics=corridor_meter"],
        ["device_batch_size=8"],
    ],
)
def test_execution_settings_do_not_change_the_id(overrides):
    assert name(*overrides) == name()


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=1"],
        ["batch_size=32"],
        ["epochs=7"],
        ["optimizer.max_lr=1"],
        ["optimizer.f_star=0.5"],
        ["model.stem=cifar"],
        ["model.norm=group"],
        ["model.init=zero"],
        ["model=resnet50"],
        ["model.name=mine"],
        ["model._target_=clr.training.models.resnet50"],
        ["model._target_=my.own.resnet18"],
        ["precision=bf16"],
        ["dataset.flip=true"],
        ["dataset.crop_padding=2"],
        ["optimizer=sgd"],
        ["optimizer=sgd", "+optimizer.momentum=0.9"],
    ],
)
def test_what_determines_the_results_changes_the_id(overrides):
    assert name(*overrides) != name()


def test_a_schedule_changes_the_id():
    without = name(*MOMENTUM, "optimizer.name=sgd_momentum_cosine")
    assert len({without, name(*COSINE), name(*COSINE, f"{FRACTION}=0.1")}) == 3


@pytest.mark.parametrize(
    "override", ["model.name=other", "model._target_=torchvision.models.resnet18", "+model.x=1"]
)
def test_what_determines_a_model_of_ones_own_changes_the_id(override):
    assert name(*OWN, override) != name(*OWN)
    assert name(*OWN).startswith("digits-net-b64-clr-s0-")


def test_the_data_change_the_id():
    assert run_id(load(), "e" * 64) != run_id(load(), FINGERPRINT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["optimizer.max_lr=10"], ["optimizer.max_lr=10.0"]),
        (["optimizer.f_star=0"], ["optimizer.f_star=0.0"]),
        (["optimizer.f_star=-0.0"], []),
        (["~optimizer.f_star"], []),
        (["optimizer.max_lr=0", "~optimizer.max_lr"], []),
        (["optimizer.max_lr=inf"], ["optimizer.max_lr=null"]),
        *(
            ([f"optimizer={method}", "optimizer.max_lr=inf"], [f"optimizer={method}", CAP_OFF])
            for method in ("momo", "sps_half", "clr_scaled", "alig", "dal")
        ),
        (["optimizer._target_=clr.optim.CLR"], []),
        ([*SGD, "optimizer.lr=1"], [*SGD, "optimizer.lr=1.0"]),
        ([*SGD, "+optimizer.momentum=0"], [*SGD]),
        ([*SGD, "+optimizer.weight_decay=0.0", "+optimizer.nesterov=false"], [*SGD]),
        ([*SGD, "+optimizer.foreach=null"], [*SGD]),
        ([*MOMENTUM, "+optimizer.nesterov=1"], [*MOMENTUM, "+optimizer.nesterov=true"]),
        ([*SGD, "optimizer._target_=torch.optim.sgd.SGD"], [*SGD]),
        ([*SGD, "~optimizer.lr"], [*SGD, "optimizer.lr=0.001"]),
        ([*SGD, "+optimizer.schedule=null"], [*SGD]),
        ([*COSINE, "optimizer.schedule.warmup_fraction=0"], [*COSINE, f"{FRACTION}=0.0"]),
        ([*COSINE, "~optimizer.schedule"], [*MOMENTUM, "optimizer.name=sgd_momentum_cosine"]),
        (["~model.stem"], []),
        (["~model.init", "~model.norm"], []),
        ([*OWN, "model._target_=torchvision.models.mobilenetv3.mobilenet_v3_small"], OWN),
        ([*OWN, "+model.progress=true", "+model.weights=null"], OWN),
        ([*OWN, "+model.dropout=0"], [*OWN, "+model.dropout=0.0"]),
        (
            [*SGD, "optimizer._target_=torch.optim.Adam", "+optimizer.betas=[0.9,0.999]"],
            [*SGD, "optimizer._target_=torch.optim.Adam"],
        ),
        (
            ["dataset.crop=random_resized", "dataset.crop_padding=3"],
            ["dataset.crop=random_resized"],
        ),
    ],
)
@pytest.mark.slow
def test_the_same_numbers_have_one_id(one, other):
    assert name(*one) == name(*other)


def test_an_infinite_cap_matters_to_other_optimizers():
    mine = [*SGD, "optimizer._target_=my.own.Rate"]
    assert name(*mine, "+optimizer.max_lr=inf") != name(*mine, "+optimizer.max_lr=null")


def test_an_optimizer_that_is_not_installed_has_an_id():
    assert name(*SGD, "optimizer._target_='my.own:Rate, v2'").startswith("digits-resnet18-b64-sgd")


@pytest.mark.parametrize("argument", ["process_group=3", "params=[1]", "_partial_=true"])
def test_arguments_that_the_trainer_sets_are_refused(argument):
    key = argument.partition("=")[0]
    with pytest.raises(UserError, match=f"optimizer.{key} cannot be set: .*; remove it"):
        load([f"+optimizer.{argument}"])


def test_the_wandb_id_has_only_characters_that_wandb_accepts():
    import wandb

    cfg = load()
    cfg.dataset = replace(cfg.dataset, name="a:b;c,d#e?f'g%h i")
    cfg.optimizer = {**cfg.optimizer, "name": "o, p#"}
    identifier = wandb_id(run_id(cfg, FINGERPRINT))
    assert wandb.Settings(run_id=identifier).run_id == identifier
    assert identifier.endswith(run_id(cfg, FINGERPRINT)[-10:])
