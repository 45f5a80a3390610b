"""Check of a model before the data are converted: a trial on two images, on the CPU."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parameter import is_lazy

from clr.config import TrainConfig
from clr.errors import UserError
from clr.geometry import hvp
from clr.training.factories import describe_error, factory_label
from clr.training.models import call_model_factory, seeded
from clr.training.resource_errors import is_out_of_memory

# Sizes and channels of images that a model which refuses the run's images may be made for.
_OTHER_SIZES = (32, 64, 224, 28, 48, 96, 128, 160, 192, 256, 288, 299, 384, 512)
_CHANNELS = 3
# Errors by which layers refuse their input. Others are bugs and keep their traceback.
_REFUSALS = (RuntimeError, ValueError, AssertionError)

_checked: set[str] = set()


def check_model(cfg: TrainConfig, num_classes: int, with_curvature: bool = False) -> None:
    """Build the model of a run and try it on two images, once in each process.

    The generators are left as they are. Left to the training are a model that fails on the CPU if
    there is a GPU, which it may need, and exhausted memory.

    Args:
        cfg: the run.
        num_classes: of its data.
        with_curvature: whether the optimizer needs the curvature of each step.

    Raises:
        UserError: if the model cannot be built, cannot be trained, does not take images of the
            run's resolution, does not return an output for each class, or, with
            diagnostics.every or `with_curvature`, has no second derivatives.
    """
    need = None if cfg.diagnostics.every is None else ("diagnostics.every", "diagnostics=none")
    if with_curvature:
        need = (factory_label("optimizer", cfg.optimizer), "another optimizer")
    key = json.dumps([cfg.model, cfg.dataset.resolution, cfg.device, num_classes, need])
    if key in _checked:
        return
    with seeded(0, devices=[]):
        _Trial(cfg, num_classes, need).run()
    _checked.add(key)


def has_sync_norm(model: nn.Module) -> bool:
    """Return whether the model has batch norm with statistics over all ranks."""
    return any(isinstance(layer, nn.SyncBatchNorm) for layer in model.modules())


class _Trial:
    """A model with random weights, and the steps of its check.

    `need` is what needs second derivatives and what to use without them, or None.
    """

    def __init__(self, cfg: TrainConfig, num_classes: int, need: tuple[str, str] | None) -> None:
        self._cfg = cfg
        self._need = need
        self._num_classes = num_classes
        self._label = factory_label("model", cfg.model)
        self._model = call_model_factory(cfg.model, num_classes)

    def run(self) -> None:
        """Run all checks."""
        self._check_parameters()
        synchronized = has_sync_norm(self._model)
        if synchronized and self._need:
            raise UserError(
                f"{self._need[0]} needs second derivatives, which the SyncBatchNorm of "
                f"{self._label} does not have; use model.norm=batch or group, or {self._need[1]}"
            )
        # SyncBatchNorm trains on GPUs only.
        for training in (False,) if synchronized else (False, True):
            self._model.train(training)
            try:
                output = self._output(_CHANNELS, self._cfg.dataset.resolution)
            except _REFUSALS as error:
                if not is_out_of_memory(error):
                    self._explain_refusal(error)
                return  # left to the training
            self._check_output(output)
        if not synchronized:
            self._check_derivatives()

    def _check_parameters(self) -> None:
        parameters = list(self._model.parameters())
        if any(is_lazy(parameter) for parameter in parameters):
            raise UserError(
                f"{self._label} has lazy layers, whose initial weights the seed would not "
                "determine; give the layers their sizes"
            )
        if not any(parameter.requires_grad for parameter in parameters):
            raise UserError(f"{self._label} has no parameters to train; use another model")

    def _output(self, channels: int, size: int) -> Any:
        images = torch.randn(2, channels, size, size).to(memory_format=torch.channels_last)
        return self._model(images)

    def _explain_refusal(self, error: Exception) -> None:
        """Raise UserError about an error of the forward pass, unless a GPU may be needed."""
        size = self._cfg.dataset.resolution
        problem = f"{self._label} does not take images of {size}×{size} pixels"
        for other in _OTHER_SIZES:
            if other != size and self._accepts(_CHANNELS, other):
                raise UserError(
                    f"{problem}: {describe_error(error)}; it takes {other}×{other}, so use "
                    f"dataset.resolution={other} or another model"
                )
        if self._accepts(1, size):
            raise UserError(
                f"{self._label} takes images of 1 channel; let it take {_CHANNELS}, because "
                "images are converted to RGB"
            )
        has_gpu = self._cfg.device == "auto" and torch.cuda.device_count() > 0
        if not (has_gpu or self._cfg.device == "cuda"):
            raise UserError(
                f"{problem}: {describe_error(error)}; use another dataset.resolution or model, or "
                "device=cuda if it needs a GPU"
            )

    def _accepts(self, channels: int, size: int) -> bool:
        try:
            self._output(channels, size)
        except _REFUSALS:
            return False
        return True

    def _check_output(self, output: Any) -> None:
        n = self._num_classes
        if not isinstance(output, Tensor):
            raise UserError(
                f"{self._label} returns a {type(output).__name__}; let it return one tensor, the "
                f"logits of shape (images, {n})"
            )
        if output.shape != (2, n):
            raise UserError(
                f"{self._label} returns a tensor of shape {tuple(output.shape)} for 2 images and "
                f"{n} classes; let it return logits of shape (images, num_classes)"
            )

    def _check_derivatives(self) -> None:
        """Check the gradients that several ranks need, and the second derivatives of the meter."""
        named = {k: p for k, p in self._model.named_parameters() if p.requires_grad}
        parameters = list(named.values())
        loss = cross_entropy(
            self._output(_CHANNELS, self._cfg.dataset.resolution), torch.tensor([0, 1])
        )
        if not loss.requires_grad:
            raise UserError(
                f"{self._label}: its output does not depend on its parameters by autograd; remove "
                "detach() or no_grad() from its forward pass"
            )
        retain = self._need is not None
        grads = torch.autograd.grad(loss, parameters, retain_graph=retain, allow_unused=True)
        unused = [name for name, grad in zip(named, grads, strict=True) if grad is None]
        if unused and dist.is_initialized():
            raise UserError(
                f"{self._label}: the loss does not depend on {unused[0]}, and several ranks "
                "average all gradients; remove the parameter, or set its requires_grad to False"
            )
        if self._need is None:
            return
        vector = [
            torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)
        ]
        try:
            hvp(loss, parameters, vector)
        except RuntimeError as error:
            if is_out_of_memory(error):
                return
            raise UserError(
                f"{self._need[0]} needs second derivatives, which {self._label} does not have: "
                f"{describe_error(error)}; use {self._need[1]}"
            ) from None
