"""The commands that repeat runs: composed as Hydra does, they are the runs that they stand beside."""

import json
import shlex
from dataclasses import asdict

import pytest
from figure_tables import ROOT

from clr.config import load
from clr.runs.command import command
from clr.runs.store import run_id

COMMITTED = [
    json.loads(line)
    for path in sorted(ROOT.glob("results/*/runs.jsonl"))
    for line in path.read_text().splitlines()
]


def given(config):
    """The overrides in the command, as a shell reads them."""
    python, door, *overrides = shlex.split(command(config))
    assert (python, door) == (".venv/bin/python", "train.py")
    return overrides


def config_of(*overrides):
    return asdict(load(overrides))


def test_the_command_of_a_committed_run_names_that_run():
    # One of each configuration's seeds, for composing takes a tenth of a second
    runs = {json.dumps({**run["config"], "seed": None}): run for run in COMMITTED}.values()
    assert len(runs) > 30
    for run in runs:
        cfg = load(given(run["config"]))
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
        ".venv/bin/python train.py dataset=cifar10-5k dataset.test_samples=2000 model=resnet18 optimizer=sgd "
        "optimizer.lr=0.03 batch_size=64 epochs=6 seed=2 precision=fp32"
    )


@pytest.mark.parametrize(
    "overrides",
    [
        [
            "optimizer.max_lr=10",
            "model=resnet50",
            "model.stem=cifar",
            "model.init=zero",
            "model.norm=group",
        ],
        [
            "dataset=folder",
            "dataset.path=/my/own",
            "dataset.name=flowers",
            "dataset.crop=random_resized",
        ],
        ["optimizer=sgd", "+optimizer.momentum=0.9", "+optimizer.nesterov=true", "precision=bf16"],
        [
            "optimizer.name=mine",
            "optimizer._target_='my.own:Rate, v2'",
            "~optimizer.f_star",
            "+optimizer.deep={a: [1, x]}",
        ],
    ],
)
def test_what_differs_from_the_groups_is_repeated(overrides):
    config = config_of(*overrides)
    again = config_of(*given(config))
    again["dataset"]["path"] = config["dataset"]["path"]  # the reader's own
    assert again == config


def test_where_a_run_was_made_is_not_repeated():
    config = config_of(
        "device=cpu",
        "workers=7",
        "store=/there",
        "wandb.mode=disabled",
        "checkpoint.keep=9",
        "compile=true",
    )
    assert command(config) == command(config_of())
    config = config_of(
        "dataset=folder",
        "dataset.path=/my/own",
        "store=/there/my runs",
        "compile=true",
        "batch_size=32",
    )
    _, _, *overrides = shlex.split(command(config, here=True))
    assert config_of(*overrides) == config
