"""The momentum model (MoMo): a Polyak step on a moving average of linear models of the loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from clr.methods.buffers import buffers
from clr.optim import CLR
from clr.step.arguments import in_range
from clr.step.update import GroupUpdate, norms


class MoMo(CLR):
    """Descent along the averaged gradient d, by a Polyak step on an averaged model of the loss.

    With f̄, d and γ, the moving averages of E, of g and of ⟨g, θ⟩ with weight 1 − β for the newest,

        m = f̄ + ⟨d, θ⟩ − γ,    h = min((m − f*)₊ / ‖d‖², max_lr),    θ ← θ − h d

    m is the mean of the linear models of the last batches at θ. Since θ moves by −h d alone,
    m − f* is computed without inner products, by which float32 would lose digits:

        m − f* ← β (m − f* − h‖d‖²) + (1 − β) (E − f*)

    The averages start at their first values, without bias correction: the default of the authors.
    Parameters that other code changes between steps are not noticed by this form.

    Args:
        params, f_star, process_group: as for `CLR`. f* is the paper's lower bound of the loss.
        max_lr: upper bound of the rate, one for each group, α in the paper; None: unbounded.
        beta: β, from 0 to below 1; 0 is CLR.

    State:
        In addition to that of `CLR`, each of the `param_groups` holds `model`, m − f* after the
        last step, and `averaged`, 1 after the first gradient that was averaged: 0-dim tensors, of
        which those of the first group count. `state` holds d as `average`. `lr` is h, the rate
        along d, and `grad_norm_sq` is ‖g‖².

    Skipped steps:
        As for `CLR`. A loss or gradient that is not finite, and a gradient of 0, change neither
        parameters nor averages. A step along d that does not fit the parameters' arithmetic moves
        nothing; the averages keep its gradient.

    References:
        Schaipp, Ohana, Eickenberg, Defazio & Gower, "MoMo: momentum models for adaptive learning
        rates", 2024 (arXiv 2305.07583), algorithm 1 without weight decay.

    Raises:
        ValueError: for `beta` out of range, and as `CLR`.
    """

    _group_keys = (*CLR._group_keys, "beta", "model", "averaged")
    _shared_keys = (*CLR._shared_keys, "beta")

    def __init__(
        self,
        params: Iterable[Any],
        max_lr: float | None = 1.0,
        beta: float = 0.9,
        f_star: float = 0.0,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        self._hyperparameters = {"beta": in_range("beta", beta, 0, 1)}
        super().__init__(params, f_star=f_star, max_lr=max_lr, process_group=process_group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for key in ("model", "averaged"):
            group[key] = torch.zeros_like(group["grad_norm_sq"])

    def _create_buffers(self) -> None:
        for group in self.param_groups:
            buffers(self, group, "average")

    def _descend(
        self, updates: list[GroupUpdate], gap: Tensor, norm_sq: Tensor, length: Tensor
    ) -> None:
        first = self.param_groups[0]
        unusable = ((gap + norm_sq) * 0).isnan() | (length == 0)
        is_first = first["averaged"].to(gap.device) == 0
        beta = torch.full_like(gap, self._shared("beta")).masked_fill_(is_first, 0.0)

        # 1. Average g and E.
        along = []
        for group in self.param_groups:
            params, gradients, averages = buffers(self, group, "average")
            average = GroupUpdate(averages, gradients)
            average.scale(torch.where(unusable, 1.0, beta))
            average.descend(beta - 1, unusable)
            along.append(GroupUpdate(params, averages))
        model = beta * first["model"].to(gap) + (1 - beta) * gap

        # 2. The step of CLR, with m − f* in place of E − f* and d in place of g.
        parts = [norms([update], gap.device, gap.dtype) for update in along]
        total_sq, total_length = (torch.stack(column).sum(0) for column in zip(*parts, strict=True))
        level = model.masked_fill(length == 0, 0.0) + (gap + norm_sq) * 0  # nan skips the step
        super()._descend(along, level, total_sq, total_length)

        # 3. m at the new parameters.
        for group, (part, _) in zip(self.param_groups, parts, strict=True):
            h = group["lr"].plain()
            model = model - torch.where(h > 0, h * part, 0.0)
        for group in self.param_groups:
            group["model"] = torch.where(unusable, group["model"].to(gap), model)
            group["averaged"] = torch.where(unusable, group["averaged"].to(gap), 1.0)
            group["grad_norm_sq"] = norm_sq.clone()
