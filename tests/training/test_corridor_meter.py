"""The corridor meter: right against the whole Hessian, and without a trace in the training that it measures."""

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
from clr.training.corridor_meter import Meter
from clr.training.distributed import Ranks
from clr.training.optimizers import take_step
from clr.training.recorder import METER_COLUMNS

CPU = torch.device("cpu")
FOUR_STEPS = [
    *TINY,
    *PLAIN,
    "dataset.crop_padding=4",
    "dataset.flip=true",
    "dataset.train_samples=100",
]


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
    """One training step on `parts` with the meter; what it measured."""
    meter = Meter(model, 1, precision, CPU, Ranks())
    optimizer.zero_grad()
    loss = torch.zeros((), dtype=parts[0][0].dtype)
    for images, labels in parts:
        meter.keep(0, images, labels)
        part = cross_entropy(model(images), labels) / len(parts)
        part.backward()
        loss += part.detach()
    meter.before(loss)
    rate, _ = take_step(optimizer, loss)
    return {name: float(value) for name, value in meter.after(rate).items()}


def flat(tensors):
    return torch.cat([t.reshape(-1) for t in tensors])


@pytest.mark.parametrize("cut", [[12], [4, 4, 4]])
@pytest.mark.parametrize("optimizer", ["clr", "sgd", "momentum"])
def test_the_measures_are_those_of_the_whole_hessian(cut, optimizer):
    model = Tiny()
    images, labels = batch()
    parts = list(zip(images.split(cut), labels.split(cut), strict=True))
    params = {name: p.detach().clone() for name, p in model.named_parameters()}

    def energy(theta):
        sizes = [p.numel() for p in params.values()]
        shaped = {
            n: x.view_as(p) for (n, p), x in zip(params.items(), theta.split(sizes), strict=True)
        }
        # Batch norm takes the statistics of each part, as in training.
        return sum(cross_entropy(functional_call(Tiny(), shaped, x), y) for x, y in parts) / len(
            parts
        )

    theta = flat(params.values())
    e, g = energy(theta), torch.autograd.functional.jacobian(energy, theta)
    hg = torch.autograd.functional.hessian(energy, theta) @ g
    eps = 1e-5
    moved = torch.autograd.functional.jacobian(energy, theta + eps * g)
    back = torch.autograd.functional.jacobian(energy, theta - eps * g)
    assert torch.allclose(
        (moved - back) / (2 * eps), hg, rtol=1e-7, atol=1e-9
    )  # the Hessian itself is right

    made = {"clr": CLR(model.parameters()), "sgd": torch.optim.SGD(model.parameters(), lr=0.3)}
    made["momentum"] = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=0.1)
    found = measure(model, made[optimizer], parts)
    h = float(e / g.square().sum()) if optimizer == "clr" else 0.3
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
    assert found == pytest.approx(
        {name: float(value) for name, value in expected.items()}, rel=1e-9
    )
    assert list(expected) == METER_COLUMNS[3:]


def test_nothing_is_touched_that_the_training_has():
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
        meter = Meter(model, 2 if measured else None, "bf16", CPU, Ranks())
        seen = []
        for step in range(4):
            optimizer.zero_grad()
            meter.keep(step, images, labels)
            with torch.autocast("cpu", torch.bfloat16):
                loss = cross_entropy(model(images), labels)
            loss.backward()
            meter.before(loss.detach())
            optimizer.step()
            seen.append(meter.after(0.1))
        return state(model, optimizer), seen

    (with_meter, seen), (without, _) = train(True), train(False)
    assert all(
        torch.equal(torch.as_tensor(a), torch.as_tensor(b))
        for a, b in zip(with_meter, without, strict=True)
    )
    assert [found is not None for found in seen] == [True, False, True, False]


def test_under_bf16_it_measures_the_function_of_float32():
    """The measures of one point, with gradients from autocast in .grad, are those of the same point in float32."""
    images, labels = batch(dtype=torch.float32)
    found = {}
    for precision in ("fp32", "bf16"):
        model = Tiny(dtype=torch.float32)
        meter = Meter(model, 1, precision, CPU, Ranks())
        meter.keep(0, images, labels)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = cross_entropy(model(images), labels)
        loss.backward()
        meter.before(loss.detach())
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(p.grad)  # whatever the step does to the parameters
        found[precision] = {name: float(value) for name, value in meter.after(0.3).items()}
        found[precision, "training's loss"] = float(loss.detach())
    assert found["bf16"] == pytest.approx(found["fp32"], rel=1e-5)
    assert found["bf16", "training's loss"] != pytest.approx(
        found["fp32", "training's loss"], rel=1e-5
    )


def test_a_compiled_model_is_measured_uncompiled():
    def boom(*_):
        raise AssertionError("the meter called the compiled model")

    model, (images, labels) = Tiny(), batch()
    meter = Meter(model, 1, "fp64", CPU, Ranks())
    meter.keep(0, images, labels)
    loss = cross_entropy(model(images), labels)
    loss.backward()
    model.compile(backend=boom)
    meter.before(loss.detach())
    assert meter.after(0.1)["kappa"] > 0
    with pytest.raises(Exception, match="called the compiled model"):
        model(images)


def made(tmp, name, *args, n=1, port=None):
    """The tables of one run through its door, without the clock: steps, epochs, and the meter's if it is there."""
    args = [*FOUR_STEPS, f"data_dir={tmp / 'data'}", f"store={tmp / name}", *args]
    runs = (
        [Train(args, tmp / f"{name}.log")] if n == 1 else ranks(n, port, args, tmp / f"{name}.log")
    )
    assert [run.wait() for run in runs] == [0] * n, [run.output() for run in runs]
    return tables(tmp / name)


def tables(store):
    (folder,) = (p for p in store.iterdir() if p.is_dir())
    found = {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in found.items()}


@pytest.mark.parametrize(
    ("args", "n"),
    [
        (["optimizer=clr"], 1),
        (["optimizer=clr", "precision=bf16", "model.norm=group", "device_batch_size=25"], 1),
        (["optimizer=sgd", "optimizer.lr=0.01", "+optimizer.momentum=0.9", "precision=bf16"], 1),
        (["optimizer=sgd", "optimizer.lr=0.01", "device_batch_size=13"], 2),
    ],
)
def test_a_run_is_the_same_to_the_bit_with_the_meter_and_without(tmp_path, free_port, args, n):
    off = made(tmp_path, "off", *args, n=n, port=free_port)
    on = made(tmp_path, "on", *args, "diagnostics.every=3", n=n, port=free_port + 1)
    meter = on.pop("corridor_meter")
    assert set(on) == set(off) == {"steps", "epochs"}
    for name in on:
        pd.testing.assert_frame_equal(on[name], off[name], check_exact=True)
    assert meter.columns.tolist() == METER_COLUMNS and meter["step"].tolist() == [1, 4]
    of_steps = on["steps"].set_index("step").loc[meter["step"]].reset_index()
    for column in ("epoch", "samples", "learning_rate"):
        assert meter[column].tolist() == of_steps[column].tolist()
    close = 0.1 if "precision=bf16" in args else 1e-6
    for column in ("loss", "grad_norm_sq"):
        assert meter[column].tolist() == pytest.approx(of_steps[column].tolist(), rel=close)
    if args[0] == "optimizer=clr" and close < 0.1:
        assert meter["turn"].tolist() == pytest.approx(
            meter["kappa"].tolist(), rel=1e-6
        )  # CLR's rate is E/‖g‖²


def test_one_measurement_however_the_batch_is_cut(tmp_path, free_port):
    # As tests/test_ranks.py: in float64, without batch statistics.
    args = [
        "precision=fp64",
        "model.norm=group",
        "batch_size=40",
        "diagnostics.every=2",
    ]  # steps 1 and 3 of 4
    whole = made(tmp_path, "1x40", *args)["corridor_meter"]
    for n, at_once in [(1, 10), (2, 10)]:
        cut = made(
            tmp_path, f"{n}x{at_once}", *args, f"device_batch_size={at_once}", n=n, port=free_port
        )["corridor_meter"]
        for column in METER_COLUMNS:
            assert cut[column].tolist() == pytest.approx(whole[column].tolist(), rel=1e-9), column
    assert (whole["kappa"] > 0).all() and len(whole) == 2


def killed(tmp, name, *args, at):
    """A run that checkpoints after every step, killed once there is a checkpoint of step `at` or a later one."""
    places = [f"data_dir={tmp / 'data'}", f"store={tmp / name}", "checkpoint.seconds=0"]
    run = Train([*FOUR_STEPS, *args, *places], tmp / f"{name}-killed.log")
    while run.running() and not any(
        int(p.stem[5:]) >= at for p in tmp.glob(f"{name}/*/checkpoints/step-*.pt")
    ):
        time.sleep(0.005)
    run.kill(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, run.output()


def test_a_run_that_was_killed_has_the_meter_of_one_that_was_not(tmp_path):
    args = ["epochs=4", "diagnostics.every=2"]
    whole = made(tmp_path, "whole", *args)
    for at in (3, 6):
        killed(tmp_path, "cut", *args, at=at)
    killed(
        tmp_path, "late", "epochs=4", at=3
    )  # without the meter: it must not go on with half of a table
    for name in ("cut", "late"):
        same = made(tmp_path, name, *args)
        for table in ("steps", "epochs", "corridor_meter"):
            pd.testing.assert_frame_equal(same[table], whole[table], check_exact=True)
    assert whole["corridor_meter"]["step"].tolist() == [1, 3, 5, 7]


def test_a_finished_run_is_made_again_for_a_meter_that_it_lacks_and_for_nothing_else(tmp_path):
    def stamp():
        (path,) = tmp_path.glob("runs/*/run.json")
        return path.stat().st_mtime_ns

    without, stamps = made(tmp_path, "runs"), [stamp()]
    assert "corridor_meter" not in without
    # The last three ask for what was measured, in part or not at all.
    for every in ("3", "2", "4", "2", "null"):
        found = made(tmp_path, "runs", f"diagnostics.every={every}")
        stamps.append(stamp())
        assert found["corridor_meter"]["step"].tolist() == ([1, 4] if every == "3" else [1, 3])
        for table in without:
            pd.testing.assert_frame_equal(found[table], without[table], check_exact=True)
    assert stamps[0] < stamps[1] < stamps[2] == stamps[3] == stamps[4] == stamps[5]
    killed(tmp_path, "runs", "diagnostics.every=1", at=2)
    assert not list(tmp_path.glob("runs/*/run.json"))  # its records are half overwritten


def test_sync_norm_cannot_be_measured_and_says_so():
    with pytest.raises(UserError, match="use batch or group"):
        load(["diagnostics.every=1", "model.norm=sync"])


def test_a_diverged_run_is_measured_up_to_its_last_step(tmp_path):
    found = made(tmp_path, "runs", "optimizer=sgd", "optimizer.lr=1e30", "diagnostics.every=1")
    assert (
        found["corridor_meter"]["step"].tolist() == found["steps"]["step"].tolist()
        and len(found["steps"]) < 4
    )
