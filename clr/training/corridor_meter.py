"""The corridor meter: measurement, at every K-th step, of the distance from a corridor.

The function measured is the training loss of that step: the mean cross-entropy E of its batch, with
batch norm by the batch's own statistics, at the parameters θ from before the step, and with the
learning rate h that the step then used. `clr.geometry` has the formulas.

Everything is computed in IEEE float32 (in float64 under precision=fp64), whatever precision the
training uses: the second derivative of a forward pass in bf16 is noise, and so is the difference of
two of its losses. Under bf16 and tf32, E and ‖g‖² of the meter are therefore its own, and differ
from the recorded ones as the precisions do. Otherwise they are the recorded ones.
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
from clr.training.device import Compute, set_precision
from clr.training.distributed import Ranks


@dataclass(frozen=True)
class _Point:
    """The start of a step. Lists are by parameter, numbers are 0-dim."""

    theta: list[Tensor]
    loss: Tensor  # E
    grad: list[Tensor]  # g
    hg_norm: Tensor  # ‖Hg‖


class CorridorMeter:
    """Measures the steps 1, 1 + every, 1 + 2·every, ... without changing the training by a bit.

    `.grad`, the optimizer, the running statistics of batch norm and the random generators are left
    as they are. The batch is divided as in training, into the same micro-batches on the same ranks.
    E, g and Hg are means over these; for Hg, each multiplies its own Hessian by the g of the whole
    batch.

    Args:
        model: the bare module before it is compiled, as torch.compile has no second derivatives.
        every: number of steps from one measurement to the next; None measures nothing.
        compute: device and precision of the training.
        ranks: all of them call the methods together.
        gives_curvature: compute ‖Hg‖ / ‖g‖ at every step, for an optimizer that needs it.
    """

    def __init__(
        self,
        model: nn.Module,
        every: int | None,
        compute: Compute,
        ranks: Ranks,
        gives_curvature: bool = False,
    ) -> None:
        # A shallow copy: it shares layers and parameters, but compiling the original does not
        # compile it.
        self._model = copy(model)
        self._parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._every, self._compute, self._ranks = every, compute, ranks
        self._gives_curvature, self._is_measured = gives_curvature, False
        self._micro_batches: list[tuple[Tensor, Tensor]] = []
        self._point: _Point | None = None

    def keep_micro_batch(self, steps_done: int, images: Tensor, labels: Tensor) -> None:
        """Keep a micro-batch of the step after `steps_done` steps, if that step needs it."""
        self._is_measured = self._every is not None and steps_done % self._every == 0
        if self._is_measured or self._gives_curvature:
            self._micro_batches.append((images, labels))

    def before_step(self, loss: Tensor) -> Tensor | None:
        """Measure the start of a step, when its gradients are in `.grad`.

        Args:
            loss: 0-dim, the mean over this rank's images.

        Returns:
            With `gives_curvature`, ‖Hg‖ / ‖g‖, 0-dim on the device, the same on all ranks.
        """
        if not self._micro_batches:
            return None
        parameters = list(self._parameters.values())
        if self._compute.precision in ("fp32", "fp64"):
            energy = self._ranks.mean(loss.clone())
            grad = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        else:
            energy, *grad = self._mean(
                lambda e: [e, *torch.autograd.grad(e, parameters, materialize_grads=True)]
            )
        hg_norm = grad_norm_sq(self._mean(lambda e: hvp(e, parameters, grad))).sqrt()
        if self._is_measured:
            self._point = _Point([p.detach().clone() for p in parameters], energy, grad, hg_norm)
        else:
            self._micro_batches = []
        return hg_norm / grad_norm_sq(grad).sqrt() if self._gives_curvature else None

    def after_step(self, learning_rate: Tensor | float) -> dict[str, Tensor] | None:
        """Return the measures of the step that used `learning_rate`; None if it was not measured.

        They are 0-dim float64 tensors on the device, the same on all ranks.
        """
        if self._point is None:
            return None
        start, self._point = self._point, None
        # θ − hg is not where the parameters are now: under bf16 the step used another g, and with
        # momentum another direction.
        theta = {
            name: p - learning_rate * g
            for name, p, g in zip(self._parameters, start.theta, start.grad, strict=True)
        }
        with torch.no_grad():
            (loss_after,) = self._mean(lambda e: [e], theta)
        self._micro_batches = []
        norm_sq = grad_norm_sq(start.grad)
        h = torch.zeros_like(start.hg_norm) + learning_rate
        loss, loss_after, norm = start.loss.double(), loss_after.double(), norm_sq.sqrt()
        return {
            "loss": loss,
            "learning_rate": h,
            "grad_norm_sq": norm_sq,
            **measures(loss, loss_after, norm, start.hg_norm, h),
            "fall": fall(loss, loss_after, norm, h),
        }

    def _mean(
        self,
        function: Callable[[Tensor], Sequence[Tensor]],
        theta: dict[str, Tensor] | None = None,
    ) -> list[Tensor]:
        """Average `function(loss)` over the micro-batches of all ranks.

        Args:
            theta: parameters by name; None is the model's current ones.
        """
        total: list[Tensor] = []
        with self._isolated():
            for images, labels in self._micro_batches:
                # Only `function` holds the graph, which is freed before the next one is built.
                loss = self._loss(images, labels, theta or {}) / len(self._micro_batches)
                values = [value.detach() for value in function(loss)]
                del loss
                total = [t + v for t, v in zip(total, values, strict=True)] if total else values
        if self._ranks.world_size == 1:
            return total
        sizes = [t.numel() for t in total]
        flat = self._ranks.mean(torch.cat([t.reshape(-1) for t in total]))
        return [x.view(t.shape) for x, t in zip(flat.split(sizes), total, strict=True)]

    def _loss(self, images: Tensor, labels: Tensor, theta: dict[str, Tensor]) -> Tensor:
        # The forward pass updates copies of the running statistics.
        buffers = {name: b.clone() for name, b in self._model.named_buffers()}
        return cross_entropy(functional_call(self._model, {**buffers, **theta}, images), labels)

    @contextmanager
    def _isolated(self) -> Iterator[None]:
        """Compute in float32, with the same random draws each time and none from the training."""
        device = self._compute.device
        set_precision("fp32", device)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
        set_precision(self._compute.precision, device)
