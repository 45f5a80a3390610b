"""Each file of configs/optimizer: it trains, resumes, records the rate that it used, and is safe.

A new file is tested by being there. If its step is not rate · gradient, `config_cases` has what is.
"""

import importlib
import math
import sys

import pytest
import torch
from config_cases import DECAYED, DIRECTION, MOVED, NAMES, STEPS, Training
from entry_points import on_ranks
from methods_page import rows
from torch import nn

import clr.methods
from clr.config import load
from clr.errors import UserError
from clr.runs import identity
from clr.training.checkpoint import Checkpoints
from clr.training.distributed import Ranks
from clr.training.modes import set_optimizer_mode
from clr.training.optimizers import check_optimizer

EFFECTS = ("first gradient 0", "gradient not finite")
PACKAGES = {
    "dadapt_sgd": "dadaptation",
    "prodigy": "prodigyopt",
    "schedule_free_sgd": "schedulefree",
    "schedule_free_adamw": "schedulefree",
}


@pytest.fixture(autouse=True)
def installed(request):
    """Skip a method whose package is not installed; make test installs them all."""
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    if name in PACKAGES and "missing_package" not in request.node.name:
        pytest.importorskip(PACKAGES[name])


def test_the_page_has_each_config_in_both_tables_and_no_other():
    columns = {"step", "h on record", "source", "class", *EFFECTS}
    assert set(rows()) == set(NAMES)
    for name, row in rows().items():
        assert set(row) == columns, name
        assert f"`{load([f'optimizer={name}']).optimizer['_target_']}`" in row["class"]


@pytest.mark.parametrize("name", NAMES)
def test_the_trainer_accepts_it_and_the_loss_falls(name):
    check_optimizer(load([f"optimizer={name}"]).optimizer)
    training = Training(name, steps=60)
    losses = [training.step()[0] for _ in range(60)]
    assert all(map(math.isfinite, losses))
    assert min(losses) < 0.95 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_on_record_is_the_one_that_moves_the_parameters(name):
    training, rates = Training(name), []
    point = MOVED.get(name, Training.parameters)
    for _ in range(STEPS):
        before = point(training).clone()
        loss = training.backward()
        gradient = training.gradient()
        rate, norm_sq = training.take_step(loss)
        rates.append(float(rate))
        direction = DIRECTION.get(name, lambda _, g=gradient: g)(training)
        expected = before - rates[-1] * direction
        if name in DECAYED:
            expected -= rates[-1] * training.optimizer.param_groups[0]["weight_decay"] * before
        moved = (point(training) - before).norm()
        assert (point(training) - expected).norm() <= 1e-6 * moved
        assert float(norm_sq) == pytest.approx(gradient.square().sum().item())
        training.schedule.after_step()
    assert min(rates) > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_resumed_training_has_the_same_numbers_to_the_bit(tmp_path, name, dtype):
    whole, cut = (Training(name, dtype=dtype) for _ in range(2))
    for training in (whole, cut):
        for _ in range(3):
            training.step()
        for is_training in (False, True):  # an evaluation
            set_optimizer_mode(training.optimizer, is_training)
    content = {"model": cut.model.state_dict(), "optimizer": cut.optimizer.state_dict()}
    Checkpoints(tmp_path, keep=1).save(3, content)
    saved = Checkpoints(tmp_path, keep=1).newest()

    resumed = Training(name, dtype=dtype)
    resumed.model.load_state_dict(saved["model"])
    resumed.optimizer.load_state_dict(saved["optimizer"])
    resumed.schedule = type(resumed.schedule)(resumed.config, resumed.optimizer, STEPS, 3)
    set_optimizer_mode(resumed.optimizer, training=True)
    for _ in range(STEPS - 3):
        assert resumed.step() == whole.step()
    for training in (whole, resumed):
        set_optimizer_mode(training.optimizer, training=False)
    assert torch.equal(resumed.parameters(), whole.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_two_groups_take_the_steps_of_one(name):
    one, two = Training(name), Training(name, groups=2)
    for _ in range(STEPS):
        assert two.step() == pytest.approx(one.step(), rel=1e-6)
    torch.testing.assert_close(two.parameters(), one.parameters(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_an_evaluation_does_not_change_the_training(name):
    """Schedule-Free interpolates there and back, which rounds."""
    plain, evaluated = Training(name), Training(name)
    for _ in range(3):
        plain.step()
        evaluated.step()
        for is_training in (False, True):
            set_optimizer_mode(evaluated.optimizer, is_training)
    if name.startswith("schedule_free"):
        torch.testing.assert_close(plain.parameters(), evaluated.parameters(), rtol=0, atol=1e-12)
    else:
        assert torch.equal(plain.parameters(), evaluated.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_first_gradients_of_zero_have_the_effect_that_the_page_states(name):
    training = Training(name)
    start = training.parameters()
    for p in training.model.parameters():
        p.grad = torch.zeros_like(p)
    training.take_step(torch.tensor(1.0, dtype=torch.float64))
    effect = "none" if torch.equal(training.parameters(), start) else "weight decay"
    assert effect == rows()[name]["first gradient 0"]
    assert training.parameters().isfinite().all()
    losses = [training.step()[0] for _ in range(STEPS - 1)]
    assert all(map(math.isfinite, losses)), "it trains afterwards"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_has_the_effect_that_the_page_states(name, bad):
    training = Training(name)
    for _ in range(3):
        training.step()
    before, loss = training.parameters(), training.backward()
    next(training.model.parameters()).grad[0, 0] = bad
    training.take_step(loss)
    after = training.parameters()
    effect = "skipped" if torch.equal(after, before) else "kept"
    if effect == "kept" and not after.isfinite().all():
        effect = "diverged"
    assert effect == rows()[name]["gradient not finite"]


def _train_all(ranks, names):
    """The losses' mean, rates and parameters of each method, on this rank's half of the batch."""
    results = {}
    for name in names:
        training = Training(name)
        network = ranks.wrap(training.model)
        mine = slice(ranks.rank, None, ranks.world_size)
        rates = [training.step(ranks, network, mine)[1] for _ in range(STEPS)]
        results[name] = {"rates": rates, "parameters": training.parameters()}
    return results


def test_two_ranks_take_the_steps_of_one(tmp_path, free_port):
    names = [
        name
        for name in NAMES
        if name not in PACKAGES or importlib.util.find_spec(PACKAGES[name]) is not None
    ]
    whole = _train_all(Ranks(), names)
    first, second = on_ranks(2, free_port, tmp_path, _train_all, names)
    for name in names:
        assert torch.equal(first[name]["parameters"], second[name]["parameters"]), name
        assert first[name]["rates"] == second[name]["rates"], name
        assert first[name]["rates"] == pytest.approx(whole[name]["rates"], rel=1e-6), name
        ours, expected = first[name]["parameters"], whole[name]["parameters"]
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8, msg=name)


def hide_package(monkeypatch, name):
    """Let the import of a method's package fail, as if it were not installed."""
    module = load([f"optimizer={name}"]).optimizer["_target_"].rpartition(".")[0]
    if module in sys.modules and module.startswith("clr."):
        monkeypatch.delitem(sys.modules, module)
        monkeypatch.delattr(clr.methods, module.rpartition(".")[2])
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_one_line_that_names_the_fix(monkeypatch, name):
    hide_package(monkeypatch, name)
    config = load([f"optimizer={name}"]).optimizer
    with pytest.raises(UserError) as caught:
        check_optimizer(config)
    assert f"optimizer {name} (" in str(caught.value)
    assert str(caught.value).endswith("run pip install -r requirements-arena.txt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_run_id_does_not_depend_on_whether_the_package_is_installed(monkeypatch, name):
    cfg = load([f"optimizer={name}"])
    monkeypatch.setattr(identity, "_target", identity._target.__wrapped__)
    installed = identity.run_id(cfg, "f")
    hide_package(monkeypatch, name)
    assert identity.run_id(cfg, "f") == installed


def test_dog_takes_the_steps_of_its_authors_package():
    dog = pytest.importorskip("dog")
    ours = Training("dog")
    theirs = Training("dog")
    theirs.optimizer = dog.DoG(theirs.model.parameters(), reps_rel=1e-4)
    averager = dog.PolynomialDecayAverager(theirs.model)
    for _ in range(STEPS):
        ours.step()
        theirs.backward()
        theirs.optimizer.step()
        averager.step()
        assert ours.optimizer.param_groups[0]["lr"].item() == pytest.approx(
            theirs.optimizer.param_groups[0]["eta"][0].item(), rel=1e-9
        )
    torch.testing.assert_close(ours.parameters(), theirs.parameters())
    set_optimizer_mode(ours.optimizer, training=False)
    averaged = nn.utils.parameters_to_vector(averager.averaged_model.parameters())
    torch.testing.assert_close(ours.parameters(), averaged.detach())


@pytest.mark.parametrize("arguments", [{"reps_rel": 0}, {"eps": math.inf}, {"gamma": -1}])
def test_dog_refuses_arguments_out_of_range(arguments):
    config = {**load(["optimizer=dog"]).optimizer, **arguments}
    with pytest.raises(UserError, match=f"{next(iter(arguments))} must be a finite number"):
        check_optimizer(config)


def test_dog_does_not_step_in_evaluation():
    training = Training("dog")
    set_optimizer_mode(training.optimizer, training=False)
    with pytest.raises(RuntimeError, match=r"call train\(\) before step"):
        training.step()
