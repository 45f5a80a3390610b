"""The corridor meter: at every K-th step of a training run, how far its loss surface is from a corridor.

What is measured is the training function of that step: the mean cross-entropy E of its batch, batch norm by the batch's
own statistics, at the θ from before the step, with the rate h that the step then used. `clr.geometry` has the formulas.

All of it is computed in IEEE's float32 (in float64 under precision=fp64), whatever the training computes in: the second
derivative of a forward pass in bf16 is noise, and so is the difference of two of its losses. Under bf16 and tf32 the
meter's E and ‖g‖² are therefore its own, and differ from the recorded ones as the precisions do; else they are those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from clr.geometry import fall, hvp, measures
from clr.optim import grad_norm_sq
from clr.training.device import set_precision
from clr.training.distributed import Ranks


@dataclass
class _Point:
    """Where a step began; lists are by parameter."""

    theta: list[Tensor]
    loss: Tensor  # E, 0-dim, as are all numbers
    grad: list[Tensor]  # g
    hg_norm: Tensor  # ‖Hg‖


class Meter:
    """Measures the steps 1, 1 + every, 1 + 2·every, ... and leaves the training as it is without, to the bit.

    `.grad`, the optimizer, batch norm's running statistics and the random generators are left alone. The batch is taken
    as the training takes it, in the same micro-batches on the same ranks: E, g and Hg are means over them, for Hg each
    multiplies its own Hessian by the g of the whole batch.

    Args:
        model: the bare module, not yet compiled: torch.compile has no second derivatives.
        every: None measures nothing.
        precision: the training's, as in the config.
        ranks: they measure together.
    """

    def __init__(
        self,
        model: nn.Module,
        every: int | None,
        precision: str,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self._model = copy(
            model
        )  # of the same layers and parameters, but what compiles the original leaves it alone
        self._params = dict(model.named_parameters())
        self._every, self._precision, self._device, self._ranks = every, precision, device, ranks
        self._batch: list[tuple[Tensor, Tensor]] = []
        self._point: _Point | None = None

    def keep(self, done: int, images: Tensor, labels: Tensor) -> None:
        """Take a micro-batch of the step that follows `done` finished ones, if that step is to be measured."""
        if self._every is not None and done % self._every == 0:
            self._batch.append((images, labels))

    def before(self, loss: Tensor) -> None:
        """Before the step, whose gradients are in `.grad`; `loss`: 0-dim, the mean over this rank's images."""
        if not self._batch:
            return
        params = list(self._params.values())
        if self._precision in ("fp32", "fp64"):
            energy = self._ranks.mean(loss.clone())
            grad = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in params]
        else:
            energy, *grad = self._mean(
                lambda e: [e, *torch.autograd.grad(e, params, materialize_grads=True)]
            )
        hg_norm = grad_norm_sq(self._mean(lambda e: hvp(e, params, grad))).sqrt()
        self._point = _Point([p.detach().clone() for p in params], energy, grad, hg_norm)

    def after(self, rate: Tensor | float) -> dict[str, Tensor] | None:
        """After the step, which used `rate`: its row of the meter's table; None if it was not to be measured.

        0-dim float64 tensors on the device, the same on all ranks.
        """
        if self._point is None:
            return None
        at, self._point = self._point, None
        # θ − hg, and not where the parameters are now: the step's g was another in bf16, its direction with momentum.
        there = {
            name: p - rate * g for name, p, g in zip(self._params, at.theta, at.grad, strict=True)
        }
        with torch.no_grad():
            (after,) = self._mean(lambda e: [e], there)
        self._batch = []
        norm_sq, h = grad_norm_sq(at.grad), torch.zeros_like(at.hg_norm) + rate
        loss, after, norm = at.loss.double(), after.double(), norm_sq.sqrt()
        return {
            "loss": loss,
            "learning_rate": h,
            "grad_norm_sq": norm_sq,
            **measures(loss, after, norm, at.hg_norm, h),
            "fall": fall(loss, after, norm, h),
        }

    def _mean(
        self, of: Callable[[Tensor], Sequence[Tensor]], theta: dict[str, Tensor] | None = None
    ) -> list[Tensor]:
        """The batch's mean of what `of` makes of the loss of each of its parts; at `theta`, or where the model is."""
        total: list[Tensor] = []
        with self._aside():
            for images, labels in self._batch:
                # Nothing but `of` holds the graph: it is gone before the next one is made.
                part = [
                    x.detach()
                    for x in of(self._loss(images, labels, theta or {}) / len(self._batch))
                ]
                total = [t + x for t, x in zip(total, part, strict=True)] if total else part
        if self._ranks.world_size > 1:
            flat = self._ranks.mean(torch.cat([t.reshape(-1) for t in total]))
            total = [
                x.view(t.shape)
                for x, t in zip(flat.split([t.numel() for t in total]), total, strict=True)
            ]
        return total

    def _loss(self, images: Tensor, labels: Tensor, theta: dict[str, Tensor]) -> Tensor:
        # Running statistics are updated in copies.
        buffers = {name: b.clone() for name, b in self._model.named_buffers()}
        return cross_entropy(functional_call(self._model, {**buffers, **theta}, images), labels)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """In float32, and with random draws that are the same each time and no draws of the training's."""
        set_precision("fp32", self._device)
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            yield
        set_precision(self._precision, self._device)
