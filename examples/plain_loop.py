"""A plain PyTorch loop: python examples/plain_loop.py"""

import torch
from digits import EPOCHS, build_model, load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from clr import CLR


def main() -> None:
    model = build_model()
    optimizer = CLR(model.parameters())
    loader = DataLoader(load_digits(), batch_size=128)
    for epoch in range(EPOCHS):
        total = torch.zeros(())
        for images, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step(loss=loss)
            total += loss.detach()
        rate = optimizer.param_groups[0]["lr"].item()
        print(f"epoch {epoch + 1}: loss {total.item() / len(loader):.4f}, rate {rate:.4f}")
    assert loss < 0.5, "CLR did not learn the digits"


if __name__ == "__main__":
    main()
