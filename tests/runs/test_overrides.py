"""Hydra's override syntax: values are read back, and mistakes are explained in one line."""

import pytest
from entry_points import Train
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from clr.config import CONFIGS
from clr.overrides import format_value

SPECIAL = st.text(alphabet="ab$ {}'\"\\,:=[]()~#%é\n\t.1e", max_size=8)
TEXT = st.one_of(SPECIAL, st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT)
KEYS = st.from_regex(r"[a-z]{1,4}", fullmatch=True)


def nested(values):
    return st.one_of(st.lists(values, max_size=3), st.dictionaries(KEYS, values, max_size=2))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.recursive(SCALARS, nested, max_leaves=4), min_size=1, max_size=20))
@pytest.mark.slow
def test_every_value_is_read_back(values):
    overrides = [f"+optimizer.x{i}={format_value(value)}" for i, value in enumerate(values)]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = OmegaConf.to_object(compose("train", [*overrides]).optimizer)
    assert [composed[f"x{i}"] for i in range(len(values))] == values


@pytest.mark.parametrize("value", ["true", "NULL", "inf", "nan", "1e3", "7", "", "Käfer", "a b"])
def test_text_that_hydra_would_read_as_something_else_is_quoted(value):
    assert format_value(value) == f"'{value}'"


def test_plain_words_and_paths_are_not_quoted():
    assert [format_value(value) for value in ("cifar10-5k", "/my/own")] == ["cifar10-5k", "/my/own"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("store=~/runs", '''quote the value: "store='~/runs'"'''),
        ("dataset.name=Käfer", '''quote the value: "dataset.name='Käfer'"'''),
        ("dataset.title=it's", r"""quote the value: 'dataset.title='"'"'it\'"'"'s'"'"''"""),
        ("=3", "=3 has no key; write KEY=VALUE"),
        ("dataset=3", "dataset=3: dataset takes the name of a config; see configs/dataset"),
        ("optimizer=true", "optimizer takes the name of a config; see configs/optimizer"),
        ("batch_size", "batch_size cannot be parsed as KEY=VALUE"),
        ("dataset.name=a\nb", r"dataset.name=a\nb cannot be parsed"),
        ("optimizer=[1]", "optimizer=[1]: optimizer takes the name of a config"),
        ("epochs=abc", "epochs=abc is not an integer; give one such as 5"),
        ("epochs=null", "epochs=null is not accepted; the key needs a value"),
        ("checkpoint.seconds=x", "checkpoint.seconds=x is not a number; give one such as 0.5"),
        ("compile=maybe", "compile=maybe is not true or false"),
        ("store=[1]", "store=[1] is not text"),
        ("wandb.tags=x", "wandb.tags=x is not a list; write it in brackets"),
        ("optimizer={lr:1}", "There is no key optimizer.lr"),
        ("optimizer.momentum=0.9", "To add an argument to the config, put + before the override"),
        ("~epochs", "a value is missing: epochs"),
        ("hydra.run.dir=/proc/x", "cannot create /proc/x: No such file or directory"),
    ],
)
@pytest.mark.slow
def test_a_mistake_in_an_override_is_one_line(argument, message, tmp_path):
    # The other arguments are right: no mistake is found in them.
    run = Train(["workers=0", "progress=false", argument], tmp_path / "log")
    assert run.wait() == 2
    (line,) = run.output().strip().splitlines()
    assert message in line
