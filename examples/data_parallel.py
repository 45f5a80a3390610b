"""DistributedDataParallel: torchrun --standalone --nproc-per-node 2 examples/data_parallel.py"""

import time

import torch
import torch.distributed as dist
from digits import EPOCHS, build_model, load_digits
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from clr import CLR


def main() -> None:
    dist.init_process_group("gloo")  # on GPUs: "nccl", and one device for each rank
    data = load_digits()
    model = DistributedDataParallel(build_model())
    optimizer = CLR(model.parameters())
    sampler = DistributedSampler(data, shuffle=False)
    loader = DataLoader(data, batch_size=128 // dist.get_world_size(), sampler=sampler)
    for epoch in range(EPOCHS):
        total = torch.zeros(())
        for images, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step(loss=loss)  # the loss of this rank; CLR averages it over the ranks
            total += loss.detach()
        dist.all_reduce(total)
        mean = total.item() / len(loader) / dist.get_world_size()
        rate = optimizer.param_groups[0]["lr"].item()
        if dist.get_rank() == 0:
            print(f"epoch {epoch + 1}: loss {mean:.4f}, rate {rate:.4f}")
    assert mean < 0.5, "CLR did not learn the digits"
    time.sleep(1)  # if Python ended before gloo's threads freed `total`, they would abort
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
