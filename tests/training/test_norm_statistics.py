"""Batch norm's statistics at the parameters at which an optimizer is evaluated."""

import pytest
import torch
from entry_points import PLAIN, TINY
from torch import nn

from clr.config import load
from clr.data import prepare
from clr.training.distributed import Ranks
from clr.training.setup import build_setup
from clr.training.statistics import refresh_statistics


@pytest.fixture
def setup(tmp_path):
    overrides = [*TINY, *PLAIN, "precision=fp64", f"data_dir={tmp_path / 'data'}"]
    cfg = load([*overrides, "dataset.flip=true", "device_batch_size=25"])
    return build_setup(cfg, prepare(cfg.dataset, cfg.data_dir, cfg.loader), Ranks())


def first_layer(model):
    return next(layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))


def test_they_are_the_means_over_the_batches_of_the_epoch(setup):
    seen = []
    layer = first_layer(setup.model)
    with torch.no_grad():
        layer.running_mean += 7
        hook = layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].clone()))
        refresh_statistics(setup, seed=0, epoch=1)
        hook.remove()
    assert len(seen) == 200 // 25
    means = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in seen]).mean(0)
    torch.testing.assert_close(layer.running_mean, means)
    torch.testing.assert_close(layer.running_var, variances)
    expected = torch.cat(
        [
            setup.transform.train(batch.images, batch.ids, 0, 1).to(torch.float64)
            for batch in setup.train_data.epoch(0, 1)
        ]
    )
    setup.model.eval()
    captured = []
    hook = layer.register_forward_hook(lambda _, inputs, __: captured.append(inputs[0].clone()))
    setup.model(expected)
    hook.remove()
    torch.testing.assert_close(torch.cat(seen), captured[0])


def test_the_training_does_not_notice(setup):
    model = setup.model
    model.dropout = nn.Dropout(0.5)
    images, labels = torch.randn(10, 3, 32, 32, dtype=torch.float64), torch.arange(10)

    def gradient():
        model.train()
        model.zero_grad()
        torch.manual_seed(3)
        nn.functional.cross_entropy(model(images), labels).backward()
        return [p.grad.clone() for p in model.parameters()]

    before, generator = gradient(), torch.get_rng_state()
    refresh_statistics(setup, seed=0, epoch=0)
    assert not model.dropout.training
    assert torch.equal(torch.get_rng_state(), generator)
    assert first_layer(model).momentum == 0.1
    for old, new in zip(before, gradient(), strict=True):
        assert torch.equal(old, new)


def test_a_model_without_batch_norm_reads_no_data(setup, monkeypatch):
    for name, child in list(setup.model.named_modules()):
        if isinstance(child, nn.BatchNorm2d):
            parent = setup.model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.Identity())
    monkeypatch.setattr(setup.train_data, "epoch", lambda *_: pytest.fail("data were read"))
    refresh_statistics(setup, seed=0, epoch=0)
