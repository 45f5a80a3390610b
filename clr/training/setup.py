"""Setup of a run: device, data, model and optimizer, built from its config."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from clr.config import TrainConfig
from clr.data import DatasetInfo, Transform, open_loader
from clr.data.loaders import BatchLoader
from clr.errors import UserError
from clr.training.device import Compute, pick_device, set_precision
from clr.training.distributed import BatchDivision, Ranks, divide
from clr.training.factories import factory_label
from clr.training.model_check import has_sync_norm
from clr.training.models import build_model
from clr.training.optimizers import build_optimizer
from clr.training.small_maps import use_matrix_products


@dataclass(frozen=True)
class Setup:
    """Device, data, model and optimizer of a run, on one rank."""

    compute: Compute
    division: BatchDivision
    train_data: BatchLoader
    test_data: BatchLoader
    transform: Transform
    model: nn.Module
    optimizer: torch.optim.Optimizer


def build_setup(cfg: TrainConfig, info: DatasetInfo, ranks: Ranks) -> Setup:
    """Build the setup of the run `cfg` on the prepared data `info`, at its initial parameters.

    Raises:
        UserError: for a config that this device or this number of ranks cannot run.
    """
    device = pick_device(cfg.device, ranks.local_rank)
    set_precision(cfg.precision, device)
    compute = Compute(device, cfg.precision)
    division = divide(cfg.batch_size, ranks.world_size, cfg.device_batch_size)

    loading = (cfg.loader, cfg.workers, ranks.rank, ranks.world_size)
    test_batch_size = cfg.device_batch_size or max(cfg.batch_size, 500)
    steps = division.grad_accum_steps
    train_data = open_loader(info, "train", cfg.batch_size, *loading, steps, device=device)
    test_data = open_loader(info, "test", test_batch_size, *loading, device=device)
    transform = Transform(info, cfg.dataset.crop_padding, cfg.dataset.flip)

    model = build_model(cfg.model, len(info.classes), cfg.seed)
    if device.type != "cuda" and has_sync_norm(model):
        raise UserError(
            f"the SyncBatchNorm of {factory_label('model', cfg.model)} needs GPUs; use "
            "model.norm=batch or group on this device"
        )
    if cfg.small_maps == "matmul":
        use_matrix_products(model)
    model = model.to(device, compute.dtype).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(cfg.optimizer, model)
    # For models and optimizers that draw random numbers while they train.
    torch.manual_seed(cfg.seed * 1000 + ranks.rank)
    return Setup(compute, division, train_data, test_data, transform, model, optimizer)
