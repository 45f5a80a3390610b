"""Mixed precision in float16 with torch.amp.GradScaler: python examples/grad_scaler.py

It runs on a CPU as well, where float16 is slow. bfloat16 needs no GradScaler: then it is the plain
loop with torch.autocast around the forward pass.
"""

import torch
from digits import EPOCHS, build_model, load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from clr import CLR


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model().to(device)
    optimizer = CLR(model.parameters())
    scaler = torch.amp.GradScaler(device)
    loader = DataLoader(load_digits(), batch_size=128)
    for epoch in range(EPOCHS):
        total = torch.zeros((), device=device)
        for images, labels in loader:
            optimizer.zero_grad()
            with torch.autocast(device, torch.float16):
                loss = cross_entropy(model(images.to(device)), labels.to(device))
            scaler.scale(loss).backward()
            # The scaler divides the gradients by its scale, so that the loss is the unscaled one.
            # With several micro-batches to a step: the mean of their losses.
            scaler.step(optimizer, loss=loss.detach())
            scaler.update()
            total += loss.detach()
        rate = optimizer.param_groups[0]["lr"].item()
        print(f"epoch {epoch + 1}: loss {total.item() / len(loader):.4f}, rate {rate:.4f}")
    assert loss < 0.5, "CLR did not learn the digits"


if __name__ == "__main__":
    main()
