"""The loss of a step: how it is given, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from clr.step.grad_norm import sum_dtype
from clr.step.loss import Loss, check_loss, world_size
from clr.step.update import GroupUpdate

# A gradient that was accumulated in place has changed once, and twice if DistributedDataParallel
# then wrote the average. A closure that fills it with zeros first changes it once more.
CHANGES_BY_ACCUMULATION = 1


def require_zero_gradients(updates: Sequence[GroupUpdate], name: str, closure: Any) -> None:
    """Raise ValueError for a step without a loss, unless there are gradients and all are 0.

    Args:
        name: the optimizer's, for the message.
        closure: the closure of the step; None without one.
    """
    grads = [g for update in updates for _, gs in update.gradients() for g in gs]
    if not grads or any(g.any() for g in grads):
        returned = "" if closure is None else " (the closure returned None)"
        raise ValueError(
            f"{name} needs the loss of this step{returned}: call step(loss=loss) or step(closure) "
            "with a closure that returns it. Where a framework calls step(), call "
            "optimizer.watch_loss(loss) before backward"
        )


class StepLoss:
    """The loss of the next step, from whichever way it is given.

    Attributes:
        preset: the loss given by `CLR.set_loss`; None without one.
        watched: the loss whose gradient is in `.grad`: the sum of w · loss over the backward
            passes of watched losses, where w is the derivative with respect to that loss of what
            `backward` was called on, such as 1/N; None before the first one.
    """

    def __init__(self) -> None:
        self.preset: Loss | None = None
        self.watched: Tensor | None = None
        self._is_unscaled = False
        self._zeroed = False

    def watch(self, loss: Tensor) -> None:
        """Add `loss` to `watched` whenever it is differentiated.

        Raises:
            RuntimeError: in the first `backward`, if the loss was multiplied by more than 1.
        """
        check_loss(loss)
        if not isinstance(loss, Tensor):
            raise TypeError(f"watch_loss needs the tensor of the loss, got {loss!r}")
        if not loss.requires_grad:  # in an evaluation
            return
        value = loss.detach()

        @torch._disable_dynamo  # compiled code would stop here with a warning
        def add(weight: Tensor) -> None:
            # Reading it waits for the device, so only once: a scale stays far above 1.
            if not self._is_unscaled and weight.item() > 1.001:
                raise RuntimeError(
                    f"the loss was multiplied by {weight.item():g} between watch_loss(loss) and "
                    "backward, as torch.amp.GradScaler does. CLR needs the loss of the unscaled "
                    "gradient: use scaler.step(optimizer, loss=loss), or set_loss(loss) before "
                    "step()"
                )
            self._is_unscaled = True
            dtype = sum_dtype(value.device)
            part = value.reshape(()).to(dtype) * weight.reshape(()).to(dtype)
            self.watched = part if self.watched is None else self.watched + part

        loss.register_hook(add)

    def zero(self) -> None:
        """Forget the watched losses of gradients that are set to 0."""
        self.watched, self._zeroed = None, True

    def take(
        self, closure: Callable[[], Loss | None] | None, loss: Loss | None, params: Iterable[Tensor]
    ) -> Loss | None:
        """The loss given by `loss`, `preset`, `watched` or the closure, in this order, once.

        Raises:
            ValueError: if it is the value of a closure that only added to gradients.
        """
        returned, accumulates = None, False
        if closure is not None:
            returned, accumulates = self._call(closure, params)
        candidates = (loss, self.preset, self.watched)
        self.preset = self.watched = None
        for candidate in candidates:
            if candidate is not None:
                return check_loss(candidate)
        if returned is not None and accumulates:
            raise ValueError(
                "the closure added its gradient to one that was there before (gradient "
                "accumulation), so that its value is the loss of a part of the batch. Call "
                "optimizer.watch_loss(loss) before each backward, for example in Lightning's "
                "training_step, or give the mean over the micro-batches by step(loss=loss) or "
                "set_loss(loss)"
            )
        return None if returned is None else check_loss(returned)

    def _call(
        self, closure: Callable[[], Loss | None], params: Iterable[Tensor]
    ) -> tuple[Loss | None, bool]:
        """The value of the closure, and whether it accumulated onto earlier gradients."""
        parameter = next((p for p in params if p.grad is not None), None)
        grad = None if parameter is None else parameter.grad
        version = 0 if grad is None else grad._version
        self._zeroed = False
        with torch.enable_grad():
            returned = closure()
        if parameter is None or grad is None or parameter.grad is not grad or self._zeroed:
            return returned, False
        changes = grad._version - version
        allowed = CHANGES_BY_ACCUMULATION + (world_size(None) > 1)
        return returned, 0 < changes <= allowed
