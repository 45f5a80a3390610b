"""Optimizers that train and evaluate at different parameters, such as Schedule-Free."""

from __future__ import annotations

import torch


def has_modes(optimizer: torch.optim.Optimizer) -> bool:
    """True if the optimizer has `train()` and `eval()`, which put the parameters in place."""
    return all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval"))


def set_optimizer_mode(optimizer: torch.optim.Optimizer, training: bool) -> None:
    """Put the parameters for training or for evaluation in place, where they differ."""
    if has_modes(optimizer):
        getattr(optimizer, "train" if training else "eval")()
