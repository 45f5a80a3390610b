"""The command that repeats a run: a shell and Hydra read the config of the run from it."""

import json
import shlex
from dataclasses import asdict

import pytest
from entry_points import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clr.config import from_dict, load
from clr.config_checks import name_problem
from clr.runs.command import command
from clr.runs.identity import run_id

COMMITTED = [
    json.loads(line)
    for path in sorted(ROOT.glob("results/*/runs.jsonl"))
    for line in path.read_text().splitlines()
]


def parse(line):
    """The overrides in a command, as a shell reads them."""
    python, script, *overrides = shlex.split(line)
    assert (python, script) == (".venv/bin/python", "train.py")
    return overrides


def config_of(*overrides):
    return asdict(load(overrides))


def one_run_per_configuration():
    """Committed runs that differ in more than the seed and the learning rate."""
    runs = {}
    for run in COMMITTED:
        config = run["config"]
        optimizer = {key: value for key, value in config["optimizer"].items() if key != "lr"}
        key = (config["dataset"], config["model"], optimizer, config["batch_size"])
        runs.setdefault(json.dumps(key), run)
    return list(runs.values())


@pytest.mark.slow
def test_the_command_of_a_committed_run_gives_its_id():
    runs = one_run_per_configuration()
    assert len(runs) >= 12
    for run in runs:
        cfg = load(parse(command(run["config"])))
        assert run_id(cfg, run["data"]["fingerprint"]) == run["run_id"]
        assert cfg.dataset.train_samples == run["config"]["dataset"]["train_samples"]


def test_the_command_is_as_one_would_type_it():
    config = config_of(
        "dataset=cifar10-5k",
        "dataset.test_samples=2000",
        "optimizer=sgd",
        "optimizer.lr=0.03",
        "seed=2",
    )
    assert command(config) == (
        ".venv/bin/python train.py dataset=cifar10-5k dataset.test_samples=2000 model=resnet18 "
        "optimizer=sgd optimizer.lr=0.03 batch_size=64 epochs=6 seed=2 precision=fp32"
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.max_lr=10", "model=resnet50", "model.stem=cifar", "model.norm=group"],
        ["optimizer.max_lr=inf"],
        ["optimizer.max_lr=0", "~optimizer.max_lr"],
        ["dataset=folder", "dataset.path=/my", "dataset.name=flowers", "dataset.short_side=64"],
        ["optimizer=sgd", "+optimizer.momentum=0.9", "+optimizer.nesterov=true", "precision=bf16"],
        ["optimizer.name=mine", "optimizer._target_='my.own:Rate, v2'", "~optimizer.f_star"],
        ["model.name=mine", "model._target_=my.own.net", "~model.stem", "+model.width=3"],
        ["model=resnet50", "~model.init", "model.norm=sync"],
        ["optimizer=sgd", "+optimizer.schedule={name: warmup_cosine, warmup_fraction: 0.1}"],
        ["optimizer=sgd_momentum_cosine", "~optimizer.schedule"],
        ["optimizer.name=mine", "+optimizer.deep={a: [1, x, {b: 'it, is'}], c: {}}"],
    ],
)
def test_differences_from_the_groups_are_repeated(overrides):
    config = config_of(*overrides)
    repeated = config_of(*parse(command(config)))
    # The path is the reader's own.
    repeated["dataset"]["path"] = config["dataset"]["path"]
    assert repeated == config


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(NAMES.filter(lambda name: name_problem(name) is None))
@example("Käfer")
@example("true")
@example("null")
@example("1e3")
@example('two words, it\'s "$HOME" ${x} {a: [b]}')
@example("ends with '")
@pytest.mark.slow
def test_every_name_is_repeated(name):
    config = config_of()
    config["dataset"] |= {"name": name, "title": f"{name}\\", "source": "folder", "path": "~/{a}"}
    config["optimizer"]["name"] = name
    repeated = config_of(*parse(command(config, local=True)))
    assert repeated == asdict(from_dict(config))


def test_execution_settings_are_repeated_only_on_request():
    config = config_of(
        "device=cpu",
        "workers=7",
        "store='/there/my runs'",
        "wandb.mode=disabled",
        "checkpoint.keep=9",
        "compile=true",
    )
    assert command(config) == command(config_of())
    assert config_of(*parse(command(config, local=True))) == config
