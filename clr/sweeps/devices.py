"""GPUs that this process may use, as opposed to those that the host has."""

from __future__ import annotations

import os

import torch


def visible_gpus() -> list[str]:
    """Return the value of CUDA_VISIBLE_DEVICES that selects each of the GPUs given to this process.

    Numbers, UUIDs and MIG names are passed on as they are given. Without the variable these are the
    numbers 0, 1, ... of all GPUs; [] without a GPU.
    """
    count = torch.cuda.device_count()
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return [str(number) for number in range(count)]
    if count == 0:
        return []
    names = [name.strip() for name in variable.split(",")]
    if names[0].startswith("MIG-"):
        # One process sees only the first MIG device, so the count is 1 for any number of them.
        return [name for name in names if name.startswith("MIG-")]
    return names[:count]  # CUDA ignores an invalid name and all after it
