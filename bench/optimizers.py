"""Cost of a step of each method of the arena in time and memory, relative to SGD.

    python bench/optimizers.py results/arena/cost.json

The parameters are those of ResNet-18 with gradients of one batch. In each round every method takes
one step, after 128 MB of other memory are overwritten, as in bench/step.py: noise of the host
affects all alike. The time of a method is the median over the rounds of its step over SGD's in the
same round, without forward and backward pass, and for DAL without the product with the Hessian.
The memory is that of parameters, gradients and the
tensors of the optimizer's state, which stay between two steps.

Writes JSON with the hardware, the versions and the date, and prints a line for each method.
"""

from __future__ import annotations

import argparse
import inspect
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clr.cli import run_main
from clr.config import load
from clr.configured_optimizers import read_method, titled_methods
from clr.errors import UserError
from clr.files import write_text
from clr.runs.provenance import hardware
from clr.training.models import build_model
from clr.training.optimizers import build_optimizer, needs_curvature, set_optimizer_mode

BASELINE, MODEL = "sgd", "resnet18"
WARM_UP_ROUNDS = 3
OTHER_MEMORY = 32_000_000  # float32 numbers that are overwritten before each step


@dataclass(eq=False)
class Contestant:
    """One method with a model of its own, ready to be timed."""

    name: str
    step: Callable[[], object]
    optimizer: torch.optim.Optimizer
    model: nn.Module
    seconds: list[float] = field(default_factory=list)

    @property
    def memory(self) -> int:
        """Bytes of parameters, gradients and the optimizer's state."""
        kept: list[Any] = [*self.model.parameters()]
        kept += [parameter.grad for parameter in self.model.parameters()]
        # By storage, because the state may hold views, or the parameters themselves.
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for tensor in tensors([kept, vars(self.optimizer)])
        }
        return sum(storages.values())


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors(item)


def contestant(name: str, device: torch.device) -> Contestant:
    """Build a method as the trainer does, at the default of its config."""
    cfg = load([f"optimizer={name}", f"model={MODEL}"])
    model = build_model(cfg.model, 10, 0).to(device)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(device)
    loss = cross_entropy(model(images), torch.tensor([0, 1], device=device))
    loss.backward()
    optimizer = build_optimizer(cfg.optimizer, model)
    set_optimizer_mode(optimizer, training=True)
    step: Callable[..., object] = optimizer.step
    if "loss" in inspect.signature(type(optimizer).step).parameters:
        step = partial(step, loss=loss.detach())
    if needs_curvature(optimizer):
        step = partial(step_with_curvature, optimizer, step)
    return Contestant(name, step, optimizer, model)


def step_with_curvature(optimizer: Any, step: Callable[[], object]) -> object:
    """Take a step with a given curvature: the product with the Hessian is not timed."""
    optimizer.set_curvature(1.0)
    return step()


def seconds(step: Callable[[], object], other: Tensor) -> float:
    """Duration of one step, with caches full of `other`."""
    other.add_(1)
    if other.is_cuda:
        torch.cuda.synchronize()
    start = perf_counter()
    step()
    if other.is_cuda:
        torch.cuda.synchronize()
    return perf_counter() - start


def measure(names: list[str], rounds: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Time all methods in turn; return the costs of each."""
    contestants = [contestant(name, device) for name in names]
    other = torch.zeros(OTHER_MEMORY, device=device)
    for number in range(-WARM_UP_ROUNDS, rounds):
        for own in contestants:
            taken = seconds(own.step, other)
            if number >= 0:
                own.seconds.append(taken)
    (baseline,) = [own for own in contestants if own.name == BASELINE]
    costs = {}
    for own in contestants:
        ratios = [a / b for a, b in zip(own.seconds, baseline.seconds, strict=True)]
        low, *_, high = quantiles(ratios, n=4)
        costs[own.name] = {
            "seconds": float(f"{median(own.seconds):.4g}"),
            "time_ratio": round(median(ratios), 2),
            "time_ratio_quartile_low": round(low, 2),
            "time_ratio_quartile_high": round(high, 2),
            "memory_ratio": round(own.memory / baseline.memory, 2),
        }
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, nargs="?", help="file to write; default: none")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        raise UserError(f"--rounds {arguments.rounds} gives no quartiles; use at least 2")
    names = titled_methods()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    content = {
        "model": f"parameters of {MODEL}",
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "rounds": arguments.rounds,
        "methods": measure(names, arguments.rounds, device),
    }
    for name, own in content["methods"].items():
        title = read_method(name).title
        print(
            f"{title}: {own['seconds'] * 1e3:.1f} ms, {own['time_ratio']:.2f} times SGD "
            f"({own['time_ratio_quartile_low']:.2f}–{own['time_ratio_quartile_high']:.2f}), "
            f"memory {own['memory_ratio']:.2f} times SGD's"
        )
    if arguments.path is not None:
        arguments.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(json.dumps(content, indent=1) + "\n", arguments.path)
        print(arguments.path)


if __name__ == "__main__":
    run_main(main)
