"""Evaluation of a model on the test split, divided among the ranks."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from clr.training.distributed import Ranks
from clr.training.recorder import EvalMetrics
from clr.training.setup import Setup


@torch.no_grad()
def evaluate(setup: Setup, ranks: Ranks) -> EvalMetrics:
    """Return mean cross-entropy, accuracy and top-5 accuracy over the test split.

    Each rank evaluates its share of the split by the same network: rank 0's running statistics of
    batch norm are copied to all ranks first. The host waits for the device at the end.
    """
    ranks.broadcast_buffers(setup.model)
    setup.model.eval()
    compute = setup.compute
    sums = torch.zeros(4, device=compute.device, dtype=torch.float64)
    for batch in setup.test_data.epoch():
        images = setup.transform.test(compute.to_device(batch.images)).to(compute.dtype)
        labels = compute.to_device(batch.labels)
        with compute.autocast():
            logits = setup.model(images).to(compute.dtype)
        loss = cross_entropy(logits, labels, reduction="sum").double()
        correct = (logits.argmax(1) == labels).sum()
        top5 = logits.topk(min(5, logits.shape[1])).indices
        correct_top5 = (top5 == labels[:, None]).sum()
        images_seen = torch.full_like(correct, len(labels))
        sums += torch.stack([loss, correct, correct_top5, images_seen])
    loss_sum, num_correct, num_correct_top5, num_images = ranks.sum(sums).tolist()
    return EvalMetrics(
        loss_sum / num_images,
        num_correct / num_images,
        num_correct_top5 / num_images,
    )
