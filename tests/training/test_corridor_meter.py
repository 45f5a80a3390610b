"""The corridor meter agrees with the whole Hessian and does not change the training it measures."""

import signal
import time

import pandas as pd
import pytest
import torch
from entry_points import PLAIN, TINY, Train, ranks
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from clr import CLR
from clr.config import load
from clr.errors import UserError
from clr.training.corridor_meter import CorridorMeter
from clr.training.device import Compute
from clr.training.distributed import Ranks
from clr.training.optimizers import take_step
from clr.training.recorder import METER_COLUMNS

CPU = torch.device("cpu")
SMALL = [*TINY, *PLAIN, "dataset.crop_padding=4", "dataset.flip=true"]
FOUR_STEPS = [*SMALL, "dataset.train_samples=100", "dataset.test_samples=50"]


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


def train_tables(tmp, name, *args, n=1, port=None):
    """Train one run through the entry point; return its tables by name, without the seconds."""
    args = [*FOUR_STEPS, f"data_dir={tmp / 'data'}", f"store={tmp / name}", *args]
    log = tmp / f"{name}.log"
    runs = [Train(args, log)] if n == 1 else ranks(n, port, args, log)
    assert [run.wait() for run in runs] == [0] * n, [run.output() for run in runs]
    return tables(tmp / name)


def tables(store):
    (folder,) = (p for p in store.iterdir() if p.is_dir())
    tables = {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in tables.items()}


CLR_RUN = ["optimizer=clr"]
CLR_BF16_RUN = ["optimizer=clr", "precision=bf16", "model.norm=group", "device_batch_size=25"]
MOMENTUM_RUN = ["optimizer=sgd", "optimizer.lr=0.01", "+optimizer.momentum=0.9", "precision=bf16"]
SGD_RUN = ["optimizer=sgd", "optimizer.lr=0.01", "device_batch_size=13"]


@pytest.mark.parametrize(
    ("args", "n"),
    [(CLR_RUN, 1), (CLR_BF16_RUN, 1), (MOMENTUM_RUN, 1), (SGD_RUN, 2)],
    ids=["clr", "clr-bf16", "momentum-bf16", "two-ranks"],
)
def test_a_run_is_the_same_to_the_bit_with_and_without_the_meter(tmp_path, free_port, args, n):
    off = train_tables(tmp_path, "off", *args, n=n, port=free_port)
    on = train_tables(tmp_path, "on", *args, "diagnostics.every=3", n=n, port=free_port + 1)
    meter = on.pop("corridor_meter")
    assert set(on) == set(off) == {"steps", "epochs"}
    for name in on:
        pd.testing.assert_frame_equal(on[name], off[name], check_exact=True)

    assert meter.columns.tolist() == METER_COLUMNS
    assert meter["step"].tolist() == [1, 4]
    measured_steps = on["steps"].set_index("step").loc[meter["step"]].reset_index()
    for column in ("epoch", "samples", "learning_rate"):
        assert meter[column].tolist() == measured_steps[column].tolist(), column
    tolerance = 0.1 if "precision=bf16" in args else 1e-6
    for column in ("loss", "grad_norm_sq"):
        expected = pytest.approx(measured_steps[column].tolist(), rel=tolerance)
        assert meter[column].tolist() == expected, column
    if args is CLR_RUN:  # its rate is E/‖g‖²
        assert meter["turn"].tolist() == pytest.approx(meter["kappa"].tolist(), rel=1e-6)


def test_the_division_of_a_batch_does_not_change_the_measures(tmp_path, free_port):
    # In float64 and without batch statistics, as in test_ranks.py. Steps 1 and 3 of 4.
    args = ["precision=fp64", "model.norm=group", "batch_size=40", "diagnostics.every=2"]
    whole = train_tables(tmp_path, "whole", *args)["corridor_meter"]
    assert len(whole) == 2
    assert (whole["kappa"] > 0).all()
    for n in (1, 2):
        name, cut = f"{n}x10", [*args, "device_batch_size=10"]
        divided = train_tables(tmp_path, name, *cut, n=n, port=free_port)["corridor_meter"]
        for column in METER_COLUMNS:
            expected = pytest.approx(whole[column].tolist(), rel=1e-9)
            assert divided[column].tolist() == expected, (name, column)


def killed(tmp, name, *args, at):
    """Kill a run when it has a checkpoint of step `at` or later; it writes one at every step."""
    places = [f"data_dir={tmp / 'data'}", f"store={tmp / name}", "checkpoint.seconds=0"]
    run = Train([*FOUR_STEPS, *args, *places], tmp / f"{name}-killed.log")
    while run.running() and not any(
        int(p.stem[5:]) >= at for p in tmp.glob(f"{name}/*/checkpoints/step-*.pt")
    ):
        time.sleep(0.005)
    run.kill(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, run.output()


def test_a_killed_run_has_the_measures_of_an_undisturbed_one(tmp_path):
    args = ["epochs=4", "diagnostics.every=2"]
    whole = train_tables(tmp_path, "whole", *args)
    assert whole["corridor_meter"]["step"].tolist() == [1, 3, 5, 7]
    for step in (3, 6):
        killed(tmp_path, "cut", *args, at=step)
    # Started without the meter, a run must not resume with half of a table.
    killed(tmp_path, "late", "epochs=4", at=3)
    for name in ("cut", "late"):
        resumed = train_tables(tmp_path, name, *args)
        for table in ("steps", "epochs", "corridor_meter"):
            pd.testing.assert_frame_equal(resumed[table], whole[table], check_exact=True)


def test_a_finished_run_is_only_trained_again_for_measures_that_it_lacks(tmp_path):
    def stamp():
        (path,) = tmp_path.glob("runs/*/run.json")
        return path.stat().st_mtime_ns

    without, stamps = train_tables(tmp_path, "runs"), [stamp()]
    assert "corridor_meter" not in without
    # The last three ask for a part of what was measured, or for nothing.
    for every in ("3", "2", "4", "2", "null"):
        tables_now = train_tables(tmp_path, "runs", f"diagnostics.every={every}")
        stamps.append(stamp())
        measured_steps = [1, 4] if every == "3" else [1, 3]
        assert tables_now["corridor_meter"]["step"].tolist() == measured_steps
        for table in without:
            pd.testing.assert_frame_equal(tables_now[table], without[table], check_exact=True)
    assert stamps[0] < stamps[1] < stamps[2], "a run with fewer measures was not trained again"
    assert stamps[2:] == [stamps[2]] * 4, "a run with all the measures was trained again"
    killed(tmp_path, "runs", "diagnostics.every=1", at=2)
    assert not list(tmp_path.glob("runs/*/run.json")), "its records are half overwritten"


def test_sync_norm_cannot_be_measured():
    with pytest.raises(UserError, match="use batch or group"):
        load(["diagnostics.every=1", "model.norm=sync"])


def test_a_diverged_run_is_measured_up_to_its_last_step(tmp_path):
    diverging = ["optimizer=sgd", "optimizer.lr=1e30", "diagnostics.every=1"]
    run = train_tables(tmp_path, "runs", *diverging)
    assert len(run["steps"]) < 4
    assert run["corridor_meter"]["step"].tolist() == run["steps"]["step"].tolist()
