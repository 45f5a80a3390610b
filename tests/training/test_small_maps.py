"""Convolutions of small maps as matrix products: the same function, parameters and state_dict."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy

from clr.geometry import hvp
from clr.training.small_maps import SmallMapConv2d, use_matrix_products


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2), (5, 5)])
def test_a_layer_is_the_same_function(shape, stride):
    torch.manual_seed(0)
    usual = nn.Conv2d(3, 4, 3, stride=stride, padding=1, bias=False, dtype=torch.float64)
    model = nn.Sequential(usual)
    use_matrix_products(model)
    assert type(model[0]) is SmallMapConv2d
    assert model[0].weight is usual.weight
    images = torch.randn(5, 3, *shape, dtype=torch.float64)
    torch.testing.assert_close(model(images), usual(images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_network_keeps_its_loss_gradients_curvature_and_state_dict(name):
    torch.manual_seed(0)
    usual = getattr(torchvision.models, name)(num_classes=10).double()
    replaced = copy.deepcopy(usual)
    use_matrix_products(replaced)
    assert list(replaced.state_dict()) == list(usual.state_dict())
    images = torch.randn(16, 3, 32, 32, dtype=torch.float64)
    results = []
    for model in (usual, replaced):
        parameters = list(model.parameters())
        loss = cross_entropy(model(images), torch.arange(16) % 10)
        grads = torch.autograd.grad(loss, parameters)
        loss = cross_entropy(model(images), torch.arange(16) % 10)
        results.append((loss, grads, hvp(loss, parameters, grads)))
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-8)


def test_an_image_without_a_batch_is_convolved():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False))
    image = torch.randn(3, 2, 2)
    expected = model(image)
    use_matrix_products(model)
    assert torch.equal(model(image), expected)


def test_other_convolutions_stay():
    layers = [
        nn.Conv2d(4, 4, 1, bias=False),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect", bias=False),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, bias=False),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1, bias=False)),
        nn.utils.spectral_norm(nn.Conv2d(4, 4, 3, padding=1, bias=False)),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
    ]
    layers[-1].register_forward_hook(lambda layer, inputs, output: 2 * output)
    model = nn.Sequential(*layers)
    use_matrix_products(model)
    assert list(model) == layers
