"""CLR under Lightning: accumulation, clipping, manual optimization, schedulers, checkpoints."""

import importlib
import warnings

import pandas
import pytest
import torch
from digits import build_model, load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from watched_steps import batch_number, check_rates, model_with, rate_of_formula, recorded_steps

from clr import CLR

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cases():
    return importlib.import_module("lightning_cases")


def test_accumulation_without_watch_loss_is_refused(cases, tmp_path):
    """The closure returns half of the loss of the last micro-batch: see the next test."""
    with pytest.raises(ValueError, match=r"gradient accumulation.*watch_loss\(loss\).*Lightning"):
        cases.fit(cases.Unwatched(), tmp_path)


def test_the_value_of_the_closure_is_wrong_under_accumulation(cases, tmp_path):
    _, (step,) = cases.fit(cases.ValueOfClosure(), tmp_path, batches=2)
    images, labels = batch_number(0)
    with torch.no_grad():
        last_loss = cross_entropy(model_with(step.params)(images[64:]), labels[64:]).item()
        mean_loss = cross_entropy(model_with(step.params)(images), labels).item()
    right = rate_of_formula(step.params, (images, labels))
    assert step.rate == pytest.approx(right * last_loss / 2 / mean_loss, rel=1e-4)


def test_without_accumulation_the_closure_is_enough(cases, tmp_path):
    _, steps = cases.fit(cases.Unwatched(), tmp_path, batch_size=128, accumulate=False)
    assert len(steps) == 8
    check_rates(steps)


def test_an_incomplete_accumulation_halves_its_loss_and_its_gradient(cases, tmp_path):
    """As Lightning does with the third of three micro-batches; the step is that of the third."""
    _, (_, last) = cases.fit(cases.Classifier(), tmp_path, batches=3)
    micro_batch = tuple(t[:64] for t in batch_number(1))
    assert last.rate == pytest.approx(
        2 * rate_of_formula(last.params, micro_batch, micro_batches=1), rel=1e-4
    )


def test_the_example_refuses_clipping():
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    with pytest.raises(MisconfigurationException, match="remove gradient_clip_val"):
        importlib.import_module("with_lightning").main(gradient_clip_val=1.0)


def test_lightning_clips_before_the_norm_is_taken(cases, tmp_path):
    """The reason to refuse: the rate becomes E over the clipped ‖g‖²."""
    clip = {"gradient_clip_val": 0.1}
    _, (step,) = cases.fit(cases.Clipping(), tmp_path, batches=2, **clip)
    images, labels = batch_number(0)
    loss = cross_entropy(model_with(step.params)(images), labels).item()
    assert step.rate == pytest.approx(loss / 0.1**2, rel=1e-3)
    assert step.rate > 5 * rate_of_formula(step.params, (images, labels))


def test_manual_optimization_takes_the_loss_by_name(cases, tmp_path):
    _, steps = cases.fit(cases.Manual(), tmp_path, batch_size=128, accumulate=False)
    assert len(steps) == 8
    check_rates(steps)


@pytest.mark.parametrize("watched", [True, False], ids=["watch_loss", "closure"])
def test_fabric_takes_the_loss_in_two_ways(watched):
    from lightning import Fabric

    fabric = Fabric(accelerator="cpu")
    model = build_model()
    model, optimizer = fabric.setup(model, CLR(model.parameters()))
    with recorded_steps() as steps:
        for images, labels in DataLoader(load_digits(), batch_size=128):
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            if watched:
                optimizer.watch_loss(loss)
            fabric.backward(loss)
            optimizer.step(None if watched else loss.item)
    assert len(steps) == 14
    check_rates(steps)


def test_a_scheduler_warns_and_the_recorded_rate_stays_right(cases, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, steps = cases.fit(cases.Scheduled(), tmp_path)
    check_rates(steps)
    assert sum("lr of CLR was set from outside" in str(w.message) for w in caught) == 1


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
def test_learning_rate_monitor_logs_the_rate_of_the_previous_step(cases, tmp_path):
    steps, path = cases.fit_with_monitor(tmp_path)
    logged = pandas.read_csv(path)["lr-CLR"].dropna().unique().tolist()
    assert logged == pytest.approx([0.0, *(step.rate for step in steps[:-1])])


def test_a_checkpoint_of_lightning_keeps_the_state(cases, tmp_path):
    trainer, steps = cases.fit(cases.Classifier(), tmp_path)
    optimizer = trainer.optimizers[0]
    optimizer.param_groups[0].update(max_lr=0.7, skipped=torch.tensor(3))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)["optimizer_states"][0]
    restored = CLR(cases.Classifier().parameters())
    restored.load_state_dict(stored)
    group = restored.param_groups[0]
    assert group["lr"].item() == steps[-1].rate
    assert (group["max_lr"], group["skipped"].item()) == (0.7, 3)
