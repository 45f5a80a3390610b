"""The Corridor Learning Rate (CLR): gradient descent with the Polyak step size at E* = 0."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor

from clr.step.arguments import rate_cap, real
from clr.step.grad_norm import grad_norm_sq, sum_dtype
from clr.step.loss import Loss, check_loss, mean_over_ranks, ranks_agree
from clr.step.rate import Rate, rate_dtype
from clr.step.step_loss import StepLoss, require_zero_gradients
from clr.step.update import GroupUpdate, exceeds_kernel, float64_results, norms

__all__ = ["CLR", "grad_norm_sq"]


class CLR(torch.optim.Optimizer):
    """Gradient descent whose learning rate is the Corridor Learning Rate.

    With the loss E, its gradient g and its infimum f* (`f_star`, assumed to be 0), a step is

        h = (E(θ) − f*) / ‖g(θ)‖²,    θ ← θ − min(h, max_lr) · g(θ)

    In a corridor, a region where H g = 0, the loss falls linearly along −g and the step reaches f*.
    `clr.reference` is the same step in 25 lines.

    Examples:
        >>> import torch
        >>> from clr import CLR
        >>> x, y = torch.eye(3), torch.tensor([1.0, 2.0, 2.0])
        >>> model = torch.nn.Linear(3, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> optimizer = CLR(model.parameters())
        >>> for step in range(3):
        ...     optimizer.zero_grad()
        ...     loss = (model(x)[:, 0] - y).square().sum()
        ...     loss.backward()
        ...     _ = optimizer.step(loss=loss)
        ...     print(f"loss {loss.item():.4f}, rate {optimizer.param_groups[0]['lr'].item():.2f}")
        loss 9.0000, rate 0.25
        loss 2.2500, rate 0.25
        loss 0.5625, rate 0.25

    Args:
        params: parameters or parameter groups. One norm ‖g‖, and so one h, is computed over all.
            The other arguments are passed by name.
        f_star: infimum of the loss, in its units; the same in all groups. A loss at or below it
            gives rate 0.
        max_lr: upper bound of the rate, one for each group; None: unbounded. The paper uses 10 on
            ImageNet. To schedule it, assign to `param_groups[i]["max_lr"]`.
        process_group: ranks over which the loss is averaged, the same as those that average the
            gradients. None is the default group once `torch.distributed` is initialized.

    State:
        After a step each of the `param_groups` holds 0-dim tensors, new ones at each step:
        `lr`, the rate that was used; `grad_norm_sq`, ‖g‖²; `skipped`, the number of skipped steps.
        Reading their values synchronizes with the device; on CUDA the step itself does not, except
        for the first one of several ranks.

    Skipped steps:
        A step that cannot be taken changes no parameter, has rate 0 and increments `skipped`: if
        the loss or ‖g‖² is not finite, if a new parameter would not be, or if ‖g‖² underflows
        and an uncapped rate overflows in the parameters' arithmetic (float32, or float64). Devices
        other than the CPU do not look at the norm, which they take in float32: they also skip if
        ‖g‖ is not between 1e-12 and 1.8e19, or the rate is not a normal float32.

    Caveats, see docs/optimizer.md:
        * E* = 0 fails with label smoothing, weight decay or another penalty inside the loss, and
          labels that contradict each other. Augmentation and dropout raise the loss that can be
          reached. There, steps near the minimum are too long: set `f_star` or `max_lr`.
        * Before batch norm the loss does not depend on the scale of the weights, and h grows with
          its square, which `max_lr` does not follow.
        * Clipping the gradient makes the rate too large, because h is then E over the *clipped*
          ‖g‖². Do not clip: the step has length E/‖g‖; bound it with `max_lr`.
        * Learning-rate schedulers have no effect, with a warning; schedule `max_lr`. OneCycleLR
          also replaces `max_lr` by its own.
        * Sharded gradients: DTensor parameters (FSDP2's `fully_shard`) are supported;
          ZeroRedundancyOptimizer and FSDP1, whose ranks know only a part of ‖g‖, are refused.

    References:
        * Polyak, "Minimization of unsmooth functionals", 1969: the step size (E − E*)/‖g‖².
        * Hazan & Kakade, "Revisiting the Polyak step size", 2019 (arXiv 1905.00313).
        * Loizou et al., "Stochastic Polyak step-size for SGD", 2021 (arXiv 2002.10542): CLR with
          `max_lr` is SPS_max with f* = 0 and c = 1.
        * Berrada et al., "Training neural networks for and by interpolation", 2020
          (arXiv 1906.05661): ALI-G, the same with E* = 0 and a small constant added to ‖g‖².
        * Dherin & Rosca, "Corridor geometry in gradient-based optimization", 2024
          (arXiv 2402.08818): the derivation from corridors, and the name.

    Raises:
        ValueError: for a negative `max_lr`, an infinite `f_star`, `f_star` that differs between
            groups, an `lr` in a group, complex parameters.
        TypeError: for arguments of another type, such as `process_group=3`.
    """

    # Keys that each group of a state must have; hyperparameters of one value in all groups; those
    # that a subclass adds, which it sets before it calls this class.
    _group_keys: ClassVar[tuple[str, ...]] = ("f_star", "max_lr", "lr", "grad_norm_sq", "skipped")
    _shared_keys: ClassVar[tuple[str, ...]] = ("f_star",)
    _hyperparameters: Mapping[str, Any] = MappingProxyType({})

    process_group: dist.ProcessGroup | None
    _ranks_agree = False
    _has_warned = False

    def __init__(
        self,
        params: Iterable[Any],
        *,
        f_star: float = 0.0,
        max_lr: float | None = None,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        if process_group is not None and not isinstance(process_group, dist.ProcessGroup):
            raise TypeError(
                "process_group must be a torch.distributed.ProcessGroup that contains this rank, "
                f"or None; got {process_group!r}"
            )
        self.process_group, self._losses = process_group, StepLoss()
        f_star = real("f_star", f_star)
        if not math.isfinite(f_star):
            raise ValueError(f"f_star must be finite, got {f_star}")
        defaults = {"f_star": f_star, "max_lr": rate_cap(max_lr), **self._hyperparameters}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if "lr" in param_group:
            name = type(self).__name__
            raise ValueError(f"{name} computes its rate; use max_lr instead of lr to bound it")
        for key in self._shared_keys:
            value = (self.param_groups[0] if self.param_groups else self.defaults)[key]
            if param_group.setdefault(key, value) != value:
                raise ValueError(f"{key} differs between groups; use the same in all groups")
        param_group["max_lr"] = rate_cap(param_group.get("max_lr", self.defaults["max_lr"]))
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if any(p.is_complex() for p in group["params"]):
            self.param_groups.pop()
            raise ValueError("CLR takes real parameters; use torch.view_as_real for complex ones")
        device = group["params"][0].device if group["params"] else torch.device("cpu")
        zero = torch.zeros((), dtype=rate_dtype(device), device=device)
        skipped = self.param_groups[0].get("skipped", torch.zeros_like(zero, dtype=torch.int64))
        group["lr"] = zero.as_subclass(Rate)
        group["grad_norm_sq"] = zero.to(sum_dtype(device), copy=True)
        group["skipped"] = skipped.clone()

    def set_loss(self, loss: Loss) -> None:
        """Give the loss of the next step beforehand, for code that calls `step()` without it."""
        self._losses.preset = check_loss(loss.detach() if isinstance(loss, Tensor) else loss)

    @torch._disable_dynamo
    def watch_loss(self, loss: Tensor) -> None:
        """Let the next step take the loss from the backward passes, for code of frameworks.

        Call it with the loss of each micro-batch before `backward`. The losses add up as their
        gradients do, each with the factor that it is multiplied by before `backward`, such as 1/N
        of gradient accumulation. `zero_grad` of the optimizer forgets them. A loss without graph,
        of an evaluation, is ignored. With `torch.amp.GradScaler` use `set_loss`.
        """
        self._losses.watch(loss)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self._losses.zero()
        super().zero_grad(set_to_none)

    # The fused kernels cannot be traced: as PyTorch's optimizers do, stay out of compiled graphs.
    @torch._disable_dynamo
    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], Loss | None] | None = None, *, loss: Loss | None = None
    ) -> Loss | None:
        """Take one step and return this rank's loss.

        Args:
            closure: computes the loss, calls `backward`, returns the loss; gradients are enabled.
            loss: the loss whose gradients are in `.grad`: one real number, as a tensor or a float.
                With gradient accumulation, the mean over the micro-batches; with
                `torch.amp.GradScaler`, the unscaled loss:
                `scaler.step(optimizer, loss=loss.detach())`. It takes precedence over `set_loss`,
                this over `watch_loss`, and this over the closure's value.

        Raises:
            ValueError: without a loss, unless there are gradients and all are 0: then the rate is 0
                for any loss, and nothing happens. (`torch.distributed.checkpoint` does this.) Also
                for the value of a closure that adds its gradient to one that was there before.
            RuntimeError: for sparse gradients; if ranks have different ‖g‖ at the first step.
        """
        if closure is not None and not callable(closure):
            raise TypeError(
                f"step takes a closure first, not a {type(closure).__name__}; "
                "pass a loss by its name: step(loss=loss)"
            )
        params = (p for group in self.param_groups for p in group["params"])
        loss = self._losses.take(closure, loss, params)
        updates = [GroupUpdate(group["params"]) for group in self.param_groups]
        if loss is None:
            require_zero_gradients(updates, type(self).__name__, closure)
            self._create_buffers()
            return None
        self._warn_of_schedulers()
        fallback = self.param_groups[0]["skipped"].device
        device = next((update.device for update in updates if update.device), fallback)
        # The loss comes before the norm, whose long read empties the caches.
        gap = mean_over_ranks(loss, device, self.process_group) - self._shared("f_star")
        norm_sq, length = norms(updates, device, gap.dtype)
        if not self._ranks_agree:
            self._ranks_agree = ranks_agree(norm_sq, self.process_group)
        self._descend(updates, gap, norm_sq, length)
        return loss

    def _rate(self, gap: Tensor, norm_sq: Tensor) -> Tensor:
        """h before caps and skipped steps: 0-dim, a new tensor. It is used where E > f* and g ≠ 0.

        The optimizers of `clr.methods` replace it.
        """
        return gap / norm_sq

    def _descend(
        self, updates: list[GroupUpdate], gap: Tensor, norm_sq: Tensor, length: Tensor
    ) -> None:
        """Update parameters and state from E − f*, ‖g‖² and an upper bound `length` of ‖g‖."""
        caps = [math.inf if g["max_lr"] is None else g["max_lr"] for g in self.param_groups]
        at_rest = (length == 0) | (gap <= 0)
        h = self._rate(gap, norm_sq).masked_fill_(at_rest, 0.0)
        skip = ((gap + norm_sq) * 0).isnan()  # nan or infinite
        dtypes = set().union(*(update.dtypes for update in updates))
        largest, results = h.clamp(max=max(caps)), None
        if gap.device.type != "cpu":
            skip = skip | exceeds_kernel(largest, length, dtypes, on_cpu=False)
        elif exceeds_kernel(largest.item(), length.item(), dtypes, on_cpu=True) and not skip:
            rates = [min(h.item(), cap) for cap in caps]
            results = float64_results(updates, rates, norm_sq.item())
            skip = skip | (results is None)
        h.masked_fill_(skip, 0.0)
        skipped = self.param_groups[0]["skipped"].to(gap.device) + skip
        for group, update, cap in zip(self.param_groups, updates, caps, strict=True):
            lr = h.clamp(max=cap).to(rate_dtype(gap.device))
            group["lr"] = lr.as_subclass(Rate)
            group["grad_norm_sq"], group["skipped"] = norm_sq.clone(), skipped.clone()
            if results is None:
                update.descend(lr, skip)
        for p, updated in results or []:
            p.copy_(updated)

    def _create_buffers(self) -> None:
        """Create the tensors in `state`, without a step, for `torch.distributed.checkpoint`.

        The optimizers of `clr.methods` that have some replace it.
        """

    def _shared(self, key: str) -> float:
        value: float = self.param_groups[0][key]
        if any(group[key] != value for group in self.param_groups):
            raise ValueError(f"{key} differs between groups; use the same in all groups")
        return value

    def _warn_of_schedulers(self) -> None:
        for group in self.param_groups:
            if not self._has_warned and getattr(group["lr"], "is_overwritten", True):
                self._has_warned, name = True, type(self).__name__
                message = (
                    f"lr of {name} was set from outside, perhaps by a learning-rate scheduler; "
                    f"this has no effect, because {name} computes the rate of each step. "
                    'Remove the scheduler, or schedule the bound: param_groups[i]["max_lr"]'
                )
                if {"initial_lr", "min_lr"} <= group.keys():
                    message += ". OneCycleLR has replaced this bound by its own max_lr"
                warnings.warn(message, stacklevel=2)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "process_group": self.process_group}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for group in state["param_groups"]:
            if missing := set(self._group_keys) - group.keys():
                raise ValueError(
                    f"not the state of {type(self).__name__}: a parameter group lacks "
                    f"{', '.join(sorted(missing))}"
                )
        super().__setstate__(state)
        self._losses = StepLoss()
        for group in self.param_groups:
            group["lr"] = torch.as_tensor(group["lr"]).as_subclass(Rate)

    def __deepcopy__(self, memo: dict[int, Any]) -> CLR:
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        memo[id(self.process_group)] = self.process_group  # a handle: shared, not copied
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied
