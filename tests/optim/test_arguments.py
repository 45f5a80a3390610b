"""Wrong arguments are refused with a message that names the fix."""

import pytest
import torch
from optim_cases import constant_grad
from torch import nn

from clr import CLR
from clr.methods import PolyakSGD


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, r"needs the loss of this step: call step\(loss=loss\)"),
        ({"closure": lambda: None}, ValueError, "the closure returned None"),
        ({"closure": torch.ones(())}, TypeError, r"pass a loss by its name: step\(loss=loss\)"),
        ({"closure": 1.0}, TypeError, r"pass a loss by its name: step\(loss=loss\)"),
        ({"loss": torch.ones(2)}, ValueError, r"one number, got a tensor of shape \(2,\)"),
        ({"loss": torch.ones(0)}, ValueError, r"one number, got a tensor of shape \(0,\)"),
        ({"loss": torch.tensor(1 + 1j)}, ValueError, "must be real"),
        ({"closure": lambda: torch.tensor(1 + 1j)}, ValueError, "must be real"),
        ({"loss": 1 + 1j}, TypeError, "real number"),
        ({"loss": "1.0"}, TypeError, "real number"),
    ],
)
def test_step_refuses_what_is_not_one_real_loss(arguments, error, message):
    p = constant_grad(2, 1.0)
    with pytest.raises(error, match=message):
        CLR([p]).step(**arguments)
    assert p.tolist() == [1, 1]


def test_set_loss_refuses_what_is_not_one_real_loss():
    with pytest.raises(ValueError, match="one number"):
        CLR([constant_grad(2, 1.0)]).set_loss(torch.ones(2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_lr": -1.0}, ValueError, "max_lr must be None or at least 0, got -1.0"),
        ({"max_lr": float("nan")}, ValueError, "max_lr must be None or at least 0, got nan"),
        ({"max_lr": "10"}, TypeError, "max_lr must be a real number, got '10'"),
        ({"f_star": float("inf")}, ValueError, "f_star must be finite, got inf"),
        ({"f_star": None}, TypeError, "f_star must be a real number, got None"),
        ({"process_group": 3}, TypeError, "process_group must be a torch.distributed.ProcessGroup"),
        ({"process_group": -100}, TypeError, "that contains this rank"),  # of new_group elsewhere
    ],
)
def test_the_constructor_refuses_wrong_values(arguments, error, message):
    with pytest.raises(error, match=message):
        CLR([constant_grad(1, 1.0)], **arguments)


@pytest.mark.parametrize("optimizer", [CLR, PolyakSGD])
def test_a_learning_rate_after_the_parameters_is_not_taken_for_another_argument(optimizer):
    with pytest.raises(TypeError, match="positional arguments"):
        optimizer([constant_grad(1, 1.0)], 0.1)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"lr": 1.0}, "use max_lr instead of lr"),
        ({"f_star": 1.0}, "use the same in all groups"),
        ({"max_lr": -1.0}, "max_lr must be None or at least 0"),
        ({"params": [nn.Parameter(torch.ones(2, dtype=torch.complex64))]}, "real parameters"),
    ],
)
def test_a_group_with_wrong_values_is_refused_and_not_added(group, message):
    optimizer = CLR([constant_grad(1, 1.0)])
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [constant_grad(1, 1.0)], **group})
    assert len(optimizer.param_groups) == 1


def test_f_star_that_was_changed_in_one_group_is_refused():
    optimizer = CLR([{"params": [constant_grad(1, 1.0)]}, {"params": [constant_grad(1, 1.0)]}])
    optimizer.param_groups[1]["f_star"] = 0.5
    with pytest.raises(ValueError, match="use the same in all groups"):
        optimizer.step(loss=1.0)


def test_sparse_gradients_are_refused():
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse=False"):
        CLR(embedding.parameters()).step(loss=1.0)


@pytest.mark.parametrize("number", [1, torch.ones(1).numpy()[0]], ids=["int", "numpy.float32"])
def test_other_real_numbers_are_accepted_and_stored_as_floats(number):
    optimizer = CLR([constant_grad(1, 1.0)], f_star=number, max_lr=number)
    group = optimizer.param_groups[0]
    assert (type(group["f_star"]), type(group["max_lr"])) == (float, float)
    optimizer.step(loss=number)


@pytest.mark.parametrize("key", ["max_lr", "f_star"])
def test_an_integer_beyond_every_float_is_refused(key):
    with pytest.raises(ValueError, match=f"{key} is too large for a float"):
        CLR([constant_grad(2, 1.0)], **{key: 10**400})
