"""CLR under accelerate and under the Trainer of Transformers."""

import importlib
import warnings

import pytest
from digits import build_model, load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from watched_steps import check_rates, recorded_steps

from clr import CLR

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cases():
    return importlib.import_module("trainer_cases")


def accelerated(take_step, **options):
    """Steps of CLR under accelerate; `take_step(optimizer, loss)` is called on its wrapper."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, **options)
    model = build_model()
    loader = DataLoader(load_digits(), batch_size=128)
    model, optimizer, loader = accelerator.prepare(model, CLR(model.parameters()), loader)
    with recorded_steps() as steps:
        for images, labels in loader:
            with accelerator.accumulate(model):
                loss = cross_entropy(model(images), labels)
                accelerator.backward(loss)
                take_step(optimizer, loss)
                optimizer.zero_grad()
    return steps


def test_accelerate_takes_a_closure_that_returns_the_loss():
    steps = accelerated(lambda optimizer, loss: optimizer.step(lambda: loss))
    assert len(steps) == 14
    check_rates(steps)


def test_accelerate_refuses_the_loss_by_name():
    """Documented in docs/optimizer.md; once this fails, accelerate has learned to pass it."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'loss'"):
        accelerated(lambda optimizer, loss: optimizer.step(loss=loss))


def test_accelerate_without_a_loss_is_refused():
    with pytest.raises(ValueError, match=r"Where a framework calls step\(\).*watch_loss\(loss\)"):
        accelerated(lambda optimizer, loss: optimizer.step())


def logged_rates(trainer):
    return [entry["learning_rate"] for entry in trainer.state.log_history if "loss" in entry]


def test_the_trainers_own_scheduler_warns_and_the_recorded_rate_stays_right(cases, tmp_path):
    trainer = cases.trainer_for(tmp_path, *cases.watched_model())  # creates a linear schedule
    with recorded_steps() as steps, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.train()
    check_rates(steps)
    assert sum("lr of CLR was set from outside" in str(w.message) for w in caught) == 1
    # It reports what it saw when it was last called, before this step
    assert logged_rates(trainer) == pytest.approx([0.0, *(step.rate for step in steps[:-1])])


def test_the_schedule_of_the_example_logs_the_rate_of_each_step(cases, tmp_path):
    model, optimizer = cases.watched_model()
    schedule = cases.NoSchedule(optimizer, lambda step: 1.0)
    trainer = cases.trainer_for(tmp_path, model, optimizer, schedule)
    with recorded_steps() as steps, warnings.catch_warnings():
        warnings.filterwarnings("error", "lr of CLR was set from outside")
        trainer.train()
    assert logged_rates(trainer) == pytest.approx([step.rate for step in steps])


def test_the_trainer_without_a_loss_is_refused(cases, tmp_path):
    model = cases.Classifier()
    with pytest.raises(ValueError, match=r"call optimizer\.watch_loss\(loss\) before backward"):
        cases.trainer_for(tmp_path, model, CLR(model.parameters())).train()


def test_a_resumed_trainer_takes_the_same_steps(cases, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 5}
    with recorded_steps() as steps:
        cases.trainer_for(tmp_path, *cases.watched_model(), **options).train()
    with recorded_steps() as resumed:
        trainer = cases.trainer_for(tmp_path, *cases.watched_model(), **options)
        trainer.train(resume_from_checkpoint=f"{tmp_path}/checkpoint-5")
    assert [step.rate for step in resumed] == [step.rate for step in steps[5:]]
