"""The config: choices, bounds, names and paths are checked when it is loaded."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from entry_points import ROOT

from clr.config import CONFIGS, from_dict, load
from clr.config_checks import NAME_BYTES
from clr.errors import UserError
from clr.overrides import format_value
from clr.tuning import Tuning, check_tuned_argument


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("precision=fp8", "precision=fp8 is not one of fp32, bf16, tf32, fp64"),
        ("dataset.source=web", "dataset.source=web is not one of digits, cifar10"),
        ("epochs=0", "epochs=0 is too small; it must be at least 1"),
        ("checkpoint.seconds=nan", "checkpoint.seconds=nan is too small"),
        ("dataset.train_samples=0", "dataset.train_samples=0 is too small"),
        ("dataset.jpeg_quality=101", "dataset.jpeg_quality=101 is too large"),
        ("device_batch_size=1", "device_batch_size=1 is too small"),
        (f"seed={2**53 + 1}", "is too large; it must be at most"),
        ("dataset.resolution=16385", "dataset.resolution=16385 is too large"),
        (f"optimizer.max_lr={10**400}", "optimizer.max_lr has a number above 1.8e+308"),
        (f"+optimizer.x=[1,{{a:-{10**400}}}]", "optimizer.x has a number above 1.8e+308"),
        ("+optimizer._convert_=all", "optimizer._convert_ cannot be set"),
        ("+optimizer._recursive_=true", "optimizer._recursive_ cannot be set"),
        ("store=''", "store is empty; give a folder"),
        ("data_dir=''", "data_dir is empty; give a folder"),
        ("dataset.path=''", "dataset.path is empty; give a folder"),
        ("~epochs", "a value is missing: epochs"),
        ("optimizer.name=''", "has no name"),
        ("optimizer._target_=null", "has no _target_"),
        ("optimizer._target_=3", "optimizer._target_=3 is not the name of a class"),
        ("~model.name", "the model's config has no name; see configs/model/resnet18.yaml"),
        ("model._target_=null", "the model's config has no _target_"),
        ("model._target_=3", "model._target_=3 is not the name of a class"),
        ("+model.num_classes=3", "model.num_classes cannot be set: it is the number of classes"),
        ("+model._args_=[3]", "model._args_ cannot be set: give arguments by name"),
        (f"model.name={'m' * 33}", "is longer than 32 bytes; use a shorter name"),
    ],
)
def test_a_value_out_of_bounds_is_refused(override, message):
    with pytest.raises(UserError) as error:
        load([override])
    assert message in str(error.value)


@pytest.mark.parametrize("rate", ["abc", "null", "nan", "inf", "-0.1", "true", "[0.1]"])
def test_a_learning_rate_is_a_finite_number(rate):
    with pytest.raises(UserError, match="is not a learning rate; give a finite number"):
        load(["optimizer=sgd", f"optimizer.lr={rate}"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.tuning=3", "optimizer.tuning must have the keys key and values, and may have"),
        ("+optimizer.tuning.grid=3", "optimizer.tuning must have the keys key and values, and may"),
        ("optimizer.tuning.key=null", "optimizer.tuning.key=null is not the name of an argument"),
        ("optimizer.tuning.values=[]", "optimizer.tuning.values=[] is empty; write it as in"),
        ("optimizer.tuning.values=0.1", "optimizer.tuning.values=0.1 is not a list of finite"),
        ("optimizer.tuning.values=[0.1,a]", "is not a list of finite numbers; write it as in"),
        ("optimizer.tuning.values=[0.1,true]", "is not a list of finite numbers; write it as in"),
        ("optimizer.tuning.values=[0.1,nan]", "is not a list of finite numbers; write it as in"),
        ("optimizer.tuning.values=[1,0.1,1.0]", "optimizer.tuning has 1 twice in values and"),
        ("optimizer.tuning.beyond=[0.1,9]", "optimizer.tuning has 0.1 twice in values and beyond"),
        ("optimizer.tuning.beyond=9", "optimizer.tuning.beyond=9 is not a list of finite numbers"),
        ("optimizer.title=3", "optimizer.title=3 is not a name; quote it"),
        ("optimizer.title=''", "optimizer.title='' is not a name"),
    ],
)
def test_a_wrong_tuning_or_title_is_refused(override, message):
    with pytest.raises(UserError) as error:
        load(["optimizer=sgd", override])
    assert message in str(error.value)


@pytest.mark.parametrize("key", ["momentum", "name", "schedule"])
def test_a_tuned_key_must_be_an_argument_of_the_config_file(key):
    config = {"name": "sgd", "_target_": "torch.optim.SGD", "lr": 0.1, "schedule": {}}
    check_tuned_argument(Tuning("lr", (0.1,)), config)
    with pytest.raises(UserError, match=f"key={key} is not an argument .* which has lr; add it"):
        check_tuned_argument(Tuning(key, (0.1,)), config)


def test_tuning_and_title_name_no_run_and_reach_no_optimizer():
    cfg = load(["optimizer=sgd"])
    assert cfg.optimizer == {"name": "sgd", "_target_": "torch.optim.SGD", "lr": 0.1}
    assert cfg == load(["optimizer=sgd", "optimizer.tuning=null", "optimizer.title=Other"])
    assert cfg == load(["optimizer=sgd", "~optimizer.tuning", "~optimizer.title"])
    assert cfg == load(["optimizer=sgd", "optimizer.tuning.values=[1e-2,3]"])


NOT_NAMES = ["a/b", "../../x", "..", ".hidden", "a\\b", "~root", "-rf", " a", "a ", "a\nb", "a\0b"]


@pytest.mark.parametrize("key", ["dataset.name", "model.name", "optimizer.name"])
@pytest.mark.parametrize("name", [*NOT_NAMES, "\udcff", "é" * (NAME_BYTES // 2 + 1)])
@pytest.mark.slow
def test_a_name_that_cannot_be_part_of_a_file_name_is_refused(key, name):
    stored = asdict(load())
    group, field = key.split(".")
    stored[group][field] = name
    with pytest.raises(UserError, match=r"use (another|a shorter) name"):
        from_dict(stored)


def test_a_number_is_not_an_optimizers_name():
    with pytest.raises(UserError, match=r"optimizer\.name=1000\.0 is a float; quote the value"):
        load(["optimizer.name=1e3"])


@pytest.mark.parametrize(
    "name", ["Käfer", "true", "null", "1e3", "a b", "it's", "$x", "${x}", "花🌺"]
)
def test_other_names_are_accepted_and_kept(name):
    overrides = [f"{key}.name={format_value(name)}" for key in ("dataset", "optimizer")]
    cfg = load(overrides)
    assert cfg.dataset.name == name
    assert cfg.optimizer["name"] == name
    assert from_dict(json.loads(json.dumps(asdict(cfg)))) == cfg


@pytest.mark.parametrize("key", ["dataset.name", "optimizer.name"])
def test_two_encodings_of_one_name_are_one_name(key):
    configs = [load([f"{key}='{name}'"]) for name in ("K\u00e4fer", "Ka\u0308fer")]
    assert configs[0] == configs[1]


@pytest.mark.parametrize("key", ["store", "data_dir", "dataset.path"])
def test_a_leading_tilde_is_the_home_folder(key, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    cfg = load([f"{key}='~/x'"])
    owner, _, field = key.rpartition(".")
    assert getattr(cfg.dataset if owner else cfg, field) == "/home/me/x"
    with pytest.raises(UserError, match=f"{key}=~nobody-here/x names an unknown user"):
        load([f"{key}='~nobody-here/x'"])


def test_a_stored_config_is_literal():
    cfg = load(["dataset.title='\\${oc.env:HOME}'"])
    assert cfg.dataset.title == "${oc.env:HOME}"
    assert from_dict(asdict(cfg)) == cfg


def test_every_group_and_protocol_composes():
    for group in ("optimizer", "model", "diagnostics", "dataset"):
        for path in (CONFIGS / group).glob("*.yaml"):
            needs_path = ["dataset.path=/images"] if path.stem == "folder" else []
            assert load([f"{group}={path.stem}", *needs_path]).epochs == 6
    assert load().diagnostics.every is None
    assert load(["diagnostics=corridor_meter"]).diagnostics.every == 200
    for path in (CONFIGS / "protocol").glob("*.yaml"):
        protocol = yaml.safe_load(path.read_text())
        assert protocol["name"] == path.stem
        for task in protocol["tasks"].values():
            load(task["overrides"])
            assert task["batch_size"] in task.get("batch_sizes", [task["batch_size"]])


def test_environment_yml_holds_the_pinned_requirements():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.txt", "-r requirements-ffcv.txt"]


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-ffcv.txt", "requirements-examples.txt"]
)
def test_requirements_are_pinned(name):
    for line in Path(ROOT / name).read_text().splitlines():
        assert line.startswith("#") or "==" in line, line
