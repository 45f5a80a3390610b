"""CLR's step() against torch.optim.SGD(foreach=True), on ResNet-18's and ResNet-50's real gradients, interleaved.

    python bench/step.py

Before each step other memory is written over, so that neither finds in the caches what the step before it left there:
in training a whole backward pass lies between. Prints the median seconds of one step of each, and the median of the
ratios of neighbouring steps. SGD reads p and g and writes p; CLR has to read g once more, for ‖g‖, before it can write:
4 passes over memory against 3, a ratio of 1.33; 1.5 where only reading takes time.
"""

from __future__ import annotations

import platform
from statistics import median
from time import perf_counter

import torch
import torchvision
from torch.nn.functional import cross_entropy

from clr import CLR
from clr.runs.provenance import hardware

ROUNDS = 60


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(
        f"{hardware()}, Python {platform.python_version()}, torch {torch.__version__}, {ROUNDS} interleaved steps"
    )
    elsewhere = torch.zeros(32_000_000, device=device)  # 128 MB
    for name in ("resnet18", "resnet50"):
        model = getattr(torchvision.models, name)().to(device)
        loss = cross_entropy(
            model(torch.randn(2, 3, 64, 64, device=device)), torch.tensor([0, 1], device=device)
        )
        loss.backward()
        loss = loss.detach()
        sgd = torch.optim.SGD(model.parameters(), lr=1e-9, foreach=True)
        clr = CLR(model.parameters(), max_lr=1e-9)
        seconds: dict[str, list[float]] = {"sgd": [], "clr": []}
        for _ in range(ROUNDS):
            for key in seconds:
                elsewhere.add_(1)
                start = perf_counter()
                if key == "sgd":
                    sgd.step()
                else:
                    clr.step(loss=loss)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                seconds[key].append(perf_counter() - start)
        ratio = median(c / s for c, s in zip(seconds["clr"], seconds["sgd"], strict=True))
        print(
            f"{name}: SGD {median(seconds['sgd']) * 1e3:.2f} ms, CLR {median(seconds['clr']) * 1e3:.2f} ms, "
            f"ratio {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
