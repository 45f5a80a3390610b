"""The corridor meter agrees with the whole Hessian and does not change the training it measures."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from clr import CLR
from clr.methods import DAL
from clr.training.corridor_meter import CorridorMeter
from clr.training.device import Compute
from clr.training.distributed import Ranks
from clr.training.optimizers import needs_curvature, take_step
from clr.training.recorder import METER_COLUMNS

CPU = torch.device("cpu")


class Tiny(nn.Module):
    """Two layers with batch norm; `dropout` draws from the global generator at each call."""

    def __init__(self, dropout=0.0, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        layers = [
            nn.Linear(3, 5),
            nn.BatchNorm1d(5),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(5, 3),
        ]
        self.layers = nn.Sequential(*layers).to(dtype)

    def forward(self, x):
        return self.layers(x)


def batch(n=12, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, generator=generator).to(dtype), torch.randint(
        3, (n,), generator=generator
    )


def measure(model, optimizer, parts, precision="fp64"):
    """Take one training step on the micro-batches `parts`; return its measures."""
    meter = CorridorMeter(model, 1, Compute(CPU, precision), Ranks())
    optimizer.zero_grad()
    loss = torch.zeros((), dtype=parts[0][0].dtype)
    for images, labels in parts:
        meter.keep_micro_batch(0, images, labels)
        part = cross_entropy(model(images), labels) / len(parts)
        part.backward()
        loss += part.detach()
    meter.before_step(loss)
    rate, _ = take_step(optimizer, loss)
    return {name: float(value) for name, value in meter.after_step(rate).items()}


def flat(tensors):
    return torch.cat([t.reshape(-1) for t in tensors])


def energy_function(model, parts):
    """Return the mean loss of the micro-batches as a function of one vector of parameters.

    Batch norm takes the statistics of each micro-batch, as in training.
    """
    params = {name: p.detach().clone() for name, p in model.named_parameters()}
    sizes = [p.numel() for p in params.values()]

    def energy(theta):
        pieces = zip(params.items(), theta.split(sizes), strict=True)
        shaped = {name: piece.view_as(p) for (name, p), piece in pieces}
        losses = [cross_entropy(functional_call(Tiny(), shaped, x), y) for x, y in parts]
        return sum(losses) / len(losses)

    return energy, flat(params.values())


def expected_measures(energy, theta, learning_rate):
    """Return the measures from the whole Hessian; `learning_rate=None` is CLR's."""
    e, g = energy(theta), torch.autograd.functional.jacobian(energy, theta)
    hg = torch.autograd.functional.hessian(energy, theta) @ g
    h = float(e / g.square().sum()) if learning_rate is None else learning_rate
    norm, hg_norm, after = g.norm(), hg.norm(), energy(theta - h * g)
    expected = {
        "loss": e,
        "learning_rate": h,
        "grad_norm_sq": norm**2,
        "hg_norm": hg_norm,
        "turn": h * hg_norm / norm,
        "linearity_defect": (after - (e - h * norm**2)).abs() / (h * norm**2),
        "correction": h / 2 * hg_norm,
        "kappa": e * hg_norm / norm**3,
        "fall": (e - after) / (h * norm**2),
    }
    return {name: float(value) for name, value in expected.items()}


@pytest.mark.parametrize("sizes", [[12], [4, 4, 4]])
@pytest.mark.parametrize("optimizer", ["clr", "sgd", "momentum"])
def test_the_measures_are_those_of_the_whole_hessian(sizes, optimizer):
    model = Tiny()
    images, labels = batch()
    parts = list(zip(images.split(sizes), labels.split(sizes), strict=True))
    energy, theta = energy_function(model, parts)
    build = {
        "clr": lambda: CLR(model.parameters()),
        "sgd": lambda: torch.optim.SGD(model.parameters(), lr=0.3),
        "momentum": lambda: torch.optim.SGD(
            model.parameters(), lr=0.3, momentum=0.9, weight_decay=0.1
        ),
    }
    expected = expected_measures(energy, theta, None if optimizer == "clr" else 0.3)
    measured = measure(model, build[optimizer](), parts)
    assert measured == pytest.approx(expected, rel=1e-9)
    assert list(expected) == METER_COLUMNS[3:]


@pytest.mark.parametrize("sizes", [[12], [4, 4, 4]])
@pytest.mark.parametrize("every", [None, 1, 2])
def test_an_optimizer_that_needs_it_gets_the_curvature_of_every_step(sizes, every):
    model = Tiny()
    optimizer = DAL(model.parameters(), max_lr=None, power=1.0)
    images, labels = batch()
    parts = list(zip(images.split(sizes), labels.split(sizes), strict=True))
    meter = CorridorMeter(model, every, Compute(CPU, "fp64"), Ranks(), needs_curvature(optimizer))
    measured = []
    for step in range(3):
        energy, theta = energy_function(model, parts)
        optimizer.zero_grad()
        for x, y in parts:
            meter.keep_micro_batch(step, x, y)
            (cross_entropy(model(x), y) / len(parts)).backward()
        curvature = meter.before_step(energy(theta).detach())
        rate, _ = take_step(optimizer, energy(theta).detach(), curvature=curvature)
        expected = expected_measures(energy, theta, 1.0)
        assert rate.item() == pytest.approx(2 / expected["turn"], rel=1e-9)
        measured.append(meter.after_step(rate) is not None)
    assert measured == [every is not None and step % every == 0 for step in range(3)]


def test_the_hessian_of_these_tests_agrees_with_finite_differences():
    energy, theta = energy_function(Tiny(), [batch()])
    g = torch.autograd.functional.jacobian(energy, theta)
    hg = torch.autograd.functional.hessian(energy, theta) @ g
    eps = 1e-5
    ahead = torch.autograd.functional.jacobian(energy, theta + eps * g)
    behind = torch.autograd.functional.jacobian(energy, theta - eps * g)
    assert torch.allclose((ahead - behind) / (2 * eps), hg, rtol=1e-7, atol=1e-9)


def test_a_measurement_leaves_parameters_gradients_and_generators_as_they_are():
    images, labels = batch(dtype=torch.float32)

    def state(model, optimizer):
        grads = [p.grad.clone() for p in model.parameters()]
        return [
            *model.state_dict().values(),
            *grads,
            *optimizer.state_dict()["state"],
            torch.get_rng_state(),
        ]

    def train(measured):
        model = Tiny(dropout=0.5, dtype=torch.float32)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        meter = CorridorMeter(model, 2 if measured else None, Compute(CPU, "bf16"), Ranks())
        seen = []
        for step in range(4):
            optimizer.zero_grad()
            meter.keep_micro_batch(step, images, labels)
            with torch.autocast("cpu", torch.bfloat16):
                loss = cross_entropy(model(images), labels)
            loss.backward()
            meter.before_step(loss.detach())
            optimizer.step()
            seen.append(meter.after_step(0.1))
        return state(model, optimizer), seen

    (with_meter, seen), (without, _) = train(True), train(False)
    for measured, plain in zip(with_meter, without, strict=True):
        assert torch.equal(torch.as_tensor(measured), torch.as_tensor(plain))
    assert [measures is not None for measures in seen] == [True, False, True, False]


def test_under_bf16_the_float32_function_is_measured():
    """The measures do not depend on the precision in which `.grad` was computed."""
    images, labels = batch(dtype=torch.float32)
    measured = {}
    for precision in ("fp32", "bf16"):
        model = Tiny(dtype=torch.float32)
        meter = CorridorMeter(model, 1, Compute(CPU, precision), Ranks())
        meter.keep_micro_batch(0, images, labels)
        with Compute(CPU, precision).autocast():
            loss = cross_entropy(model(images), labels)
        loss.backward()
        meter.before_step(loss.detach())
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(p.grad)  # whatever the step does to the parameters
        measured[precision] = {name: float(value) for name, value in meter.after_step(0.3).items()}
        measured[precision, "training's loss"] = float(loss.detach())
    assert measured["bf16"] == pytest.approx(measured["fp32"], rel=1e-5)
    assert measured["bf16", "training's loss"] != pytest.approx(
        measured["fp32", "training's loss"], rel=1e-5
    )


def test_a_compiled_model_is_measured_uncompiled():
    def boom(*_):
        raise AssertionError("the meter called the compiled model")

    model, (images, labels) = Tiny(), batch()
    meter = CorridorMeter(model, 1, Compute(CPU, "fp64"), Ranks())
    meter.keep_micro_batch(0, images, labels)
    loss = cross_entropy(model(images), labels)
    loss.backward()
    model.compile(backend=boom)
    meter.before_step(loss.detach())
    assert meter.after_step(0.1)["kappa"] > 0
    with pytest.raises(Exception, match="called the compiled model"):
        model(images)
