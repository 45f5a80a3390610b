"""The networks: torchvision's own, but for what the config changes, and a user's own."""

import math

import pytest
import torch
import torchvision
from torch import nn

from clr.config import load
from clr.training.group_norm import GroupNorm
from clr.training.models import build_model


def config(name, init="torchvision", **options):
    return {**load([f"model={name}"]).model, "init": init, **options}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_default_is_torchvisions_and_leaves_the_global_generator(name):
    torch.manual_seed(5)
    ours = build_model(config(name), 10, seed=3)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(3)
    theirs = getattr(torchvision.models, name)(num_classes=10)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(
        torch.equal(ours.state_dict()[key], value) for key, value in theirs.state_dict().items()
    )


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", 8), ("resnet50", 16)])
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.slow
def test_at_zero_every_block_is_its_shortcut_and_all_classes_are_alike(name, blocks, norm):
    model = build_model(config(name, init="zero", norm=norm), 10, seed=0)
    inputs = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    loss = nn.functional.cross_entropy(model(inputs), torch.arange(4))
    assert loss.item() == pytest.approx(math.log(10), abs=1e-6)
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    residual = [block for stage in stages for block in stage]
    assert len(residual) == blocks
    for block in residual:
        width = (block.downsample[0] if block.downsample else block.conv1).in_channels
        passed = torch.rand(4, width, 8, 8, generator=torch.Generator().manual_seed(1))
        shortcut = block.downsample(passed) if block.downsample else passed
        assert torch.equal(block(passed), shortcut.relu())


def test_the_rest_is_drawn_as_without_zeros():
    zero = build_model(config("resnet50", init="zero"), 10, seed=0).state_dict()
    default = build_model(config("resnet50"), 10, seed=0).state_dict()
    other = {key for key in default if not torch.equal(zero[key], default[key])}
    assert {"fc.weight", "fc.bias"} < other
    assert all(key.endswith("bn3.weight") for key in other - {"fc.weight", "fc.bias"})


def test_the_small_stem_keeps_the_pixels():
    model = build_model(config("resnet18", stem="cifar"), 10, seed=0)
    seen = []
    model.layer1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    model(torch.zeros(2, 3, 32, 32))
    assert seen == [(2, 64, 32, 32)]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_group_norm_is_that_of_torch_in_the_layout_of_its_input(memory_format):
    x = torch.randn(3, 8, 5, 4).double().contiguous(memory_format=memory_format)
    own, torchs = GroupNorm(2, 8).double(), torch.nn.GroupNorm(2, 8).double()
    torch.nn.init.normal_(own.weight)
    torchs.load_state_dict(own.state_dict())
    result, expected = own(x), torchs(x.contiguous())
    assert torch.equal(result, expected)
    assert result.is_contiguous(memory_format=memory_format)


def test_group_norm_sees_no_other_image():
    model = build_model(config("resnet18", norm="group"), 10, seed=0).double()
    images = torch.randn(
        4, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    assert torch.allclose(model(images)[:2], model(images[:2]), rtol=1e-12, atol=1e-12)
