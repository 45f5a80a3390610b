"""accelerate with gradient accumulation: python examples/with_accelerate.py"""

import torch
from accelerate import Accelerator
from digits import EPOCHS, build_model, load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from clr import CLR


def main() -> None:
    accelerator = Accelerator(gradient_accumulation_steps=2, cpu=True)  # on GPUs without cpu=True
    model = build_model()
    clr = CLR(model.parameters())
    loader = DataLoader(load_digits(), batch_size=64)
    model, optimizer, loader = accelerator.prepare(model, clr, loader)
    for epoch in range(EPOCHS):
        total = torch.zeros((), device=accelerator.device)
        for images, labels in loader:
            with accelerator.accumulate(model):
                loss = cross_entropy(model(images), labels)
                clr.watch_loss(loss)  # a method of CLR, not of accelerate's wrapper `optimizer`
                accelerator.backward(loss)
                optimizer.step()  # for one batch per step also: optimizer.step(lambda: loss)
                optimizer.zero_grad()
            total += loss.detach()
        rate = clr.param_groups[0]["lr"].item()
        accelerator.print(
            f"epoch {epoch + 1}: loss {total.item() / len(loader):.4f}, rate {rate:.4f}"
        )
    assert loss < 0.5, "CLR did not learn the digits"


if __name__ == "__main__":
    main()
