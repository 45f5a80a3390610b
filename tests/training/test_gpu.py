"""Training on a GPU: no waiting in a step, the numbers of the CPU, and resuming to the bit.

`make gpu` runs these tests. Without a GPU they are skipped.
"""

import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from clr import CLR
from clr.config import load
from clr.data import Transform, open_loader, prepare
from clr.errors import Stopped
from clr.runs.status import RunStatus
from clr.training.trainer import Trainer, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: make gpu"),
]

GPU = torch.device("cuda", 0)
# Four steps per epoch
TINY = ["dataset.train_samples=200", "dataset.test_samples=100", "batch_size=50", "epochs=2"]
AUGMENTED = ["dataset.crop_padding=4", "dataset.flip=true"]
QUIET = ["wandb.mode=disabled", "progress=false", "device=cuda", "workers=0"]


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """Raise RuntimeError if the host waits for the GPU within the block."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def deterministic(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)


def mixed_parameters(device: torch.device) -> list[nn.Parameter]:
    """Parameters of three dtypes and three layouts with gradients, the same on every device."""
    generator = torch.Generator().manual_seed(0)

    def parameter(*shape: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
        value, grad = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
        p = nn.Parameter(value.to(device))
        p.grad = grad.to(device)
        return p

    channels_last = parameter(8, 4, 3, 3)
    channels_last.data = channels_last.data.to(memory_format=torch.channels_last)
    channels_last.grad = channels_last.grad.to(memory_format=torch.channels_last)
    mixed_layout = parameter(8, 4, 3, 3)  # the gradient's is another: not for the fused kernel
    mixed_layout.grad = mixed_layout.grad.to(memory_format=torch.channels_last)
    narrow = [parameter(300, dtype=torch.bfloat16), parameter(70, dtype=torch.float16)]
    return [parameter(1000, 20), parameter(3), channels_last, mixed_layout, *narrow]


def expected_step(params: list[nn.Parameter], loss: float, cap: float) -> list[Tensor]:
    """The parameters after θ ← θ − min(E/‖g‖², cap) g, in float64 on the CPU."""
    norm_sq = sum(p.grad.double().square().sum().item() for p in params)
    rate = min(loss / norm_sq, cap)
    return [p.detach().double() - rate * p.grad.double() for p in params]


@pytest.mark.parametrize("cap", [math.inf, 1e-5])
def test_a_step_is_the_formula_in_float64(cap):
    params, loss = mixed_parameters(GPU), 30.0
    expected = expected_step(mixed_parameters(torch.device("cpu")), loss, cap)
    CLR(params, max_lr=cap).step(loss=torch.tensor(loss, device=GPU))
    for p, value in zip(params, expected, strict=True):
        tolerance = 4 * torch.finfo(p.dtype).eps
        torch.testing.assert_close(p.detach().cpu().double(), value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", [30.0, 0.0, math.nan], ids=["descends", "at rest", "skips"])
def test_a_step_does_not_wait_for_the_gpu(loss):
    params, value = mixed_parameters(GPU), torch.tensor(loss, device=GPU)
    before = [p.detach().clone() for p in params]
    optimizer = CLR(params, max_lr=1.0)
    with waiting_is_an_error():
        optimizer.step(loss=value)
    moved = any(not torch.equal(p, old) for p, old in zip(params, before, strict=True))
    assert moved == (loss > 0)
    assert optimizer.param_groups[0]["skipped"].item() == math.isnan(loss)


def test_waiting_is_noticed():
    value = torch.ones((), device=GPU)
    with waiting_is_an_error(), pytest.raises(RuntimeError, match="synchroniz"):
        value.item()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "tf32"])
@pytest.mark.parametrize("loader", ["memory", "torch"])
@pytest.mark.parametrize(
    "optimizer",
    [["optimizer=clr"], ["optimizer=sgd_momentum_cosine", "optimizer.lr=0.01"]],
    ids=["clr", "momentum and schedule"],
)
def test_a_training_step_does_not_wait_for_the_gpu(
    tmp_path, monkeypatch, precision, loader, optimizer
):
    overrides = [*TINY, *AUGMENTED, *QUIET, *optimizer, f"loader={loader}"]
    cfg = load([*overrides, f"precision={precision}", "device_batch_size=25"])
    cfg.store, train_step, watched = str(tmp_path / "runs"), Trainer.train_step, []

    def watched_step(self, batches):
        if self.position.step == 0:  # loads kernels and, with loader=memory, the images
            return train_step(self, batches)
        with waiting_is_an_error():
            train_step(self, batches)
        watched.append(self.position.step)

    monkeypatch.setattr(Trainer, "train_step", watched_step)
    run = train(cfg, prepare(cfg.dataset, str(tmp_path / "data"), cfg.loader))
    assert watched == [2, 3, 4, 5, 6, 7, 8]
    assert run["status"] == RunStatus.FINISHED


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path, monkeypatch, deterministic, precision):
    # The stem without max-pooling, whose gradient on a GPU adds up in any order.
    overrides = [*TINY, *AUGMENTED, *QUIET, "model.stem=cifar", f"precision={precision}"]
    cfg = load(overrides)
    info, train_step = prepare(cfg.dataset, str(tmp_path / "data"), cfg.loader), Trainer.train_step

    def steps(store: str) -> pd.DataFrame:
        cfg.store = str(tmp_path / store)
        folder = tmp_path / store / train(cfg, info)["run_id"]
        return pd.read_parquet(folder / "steps.parquet").drop(columns="seconds")

    def stopping_step(self, batches):
        train_step(self, batches)
        if self.position.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = steps("whole")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stopping_step)
        with pytest.raises(Stopped, match="after step 3 of 8"):
            steps("cut")
    resumed = steps("cut")
    assert len(resumed) == 8
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_in_the_memory_of_the_gpu_give_the_batches_of_the_cpu(tmp_path, split):
    cfg = load([*TINY, *AUGMENTED])
    info = prepare(cfg.dataset, str(tmp_path), cfg.loader)
    on_gpu, on_cpu = (
        open_loader(info, split, 30, "memory", 0, device=device).epoch(seed=1, epoch=2)
        for device in (GPU, torch.device("cpu"))
    )
    transforms = [Transform(info, cfg.dataset.crop_padding, cfg.dataset.flip) for _ in range(2)]
    for batch, other in zip(on_gpu, on_cpu, strict=True):
        assert batch.images.device == GPU
        assert torch.equal(batch.ids, other.ids)
        assert torch.equal(batch.labels, other.labels)
        images, others = (
            transform.train(b.images, b.ids, 1, 2)
            for transform, b in zip(transforms, (batch, other), strict=True)
        )
        assert torch.equal(images.cpu(), others)
