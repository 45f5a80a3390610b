"""bench/optimizers.py, which measures a step of every method of the arena."""

import optimizers
import torch

from clr.configured_optimizers import titled_methods


def test_every_method_is_measured():
    costs = optimizers.measure(titled_methods(), 2, torch.device("cpu"))
    assert set(costs) == set(titled_methods())
    assert costs["sgd"]["time_ratio"] == costs["sgd"]["memory_ratio"] == 1
    # The state of AdamW is two averages of the gradients; CLR and DAL keep none.
    assert costs["adamw"]["memory_ratio"] == 2
    assert costs["clr"]["memory_ratio"] == costs["dal"]["memory_ratio"] == 1
