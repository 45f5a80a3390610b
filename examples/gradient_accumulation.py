"""Gradient accumulation, two micro-batches to a step: python examples/gradient_accumulation.py"""

import torch
from digits import EPOCHS, build_model, load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from clr import CLR

MICRO_BATCHES = 2


def main() -> None:
    model = build_model()
    optimizer = CLR(model.parameters())
    loader = DataLoader(load_digits(), batch_size=128 // MICRO_BATCHES)
    for epoch in range(EPOCHS):
        total = torch.zeros(())
        for number, (images, labels) in enumerate(loader, start=1):
            loss = cross_entropy(model(images), labels)
            optimizer.watch_loss(loss)  # adds up the losses, each with its factor 1/2
            (loss / MICRO_BATCHES).backward()
            total += loss.detach()
            if number % MICRO_BATCHES == 0:
                optimizer.step()  # takes the mean loss of the micro-batches
                optimizer.zero_grad()
        rate = optimizer.param_groups[0]["lr"].item()
        print(f"epoch {epoch + 1}: loss {total.item() / len(loader):.4f}, rate {rate:.4f}")
    assert loss < 0.5, "CLR did not learn the digits"


if __name__ == "__main__":
    main()
