"""CPUs and GPUs that this process may use, as opposed to those that the host has."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

CGROUPS = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """Return the number of CPUs by the process's affinity (taskset, SLURM) and its cgroup's quota.

    `os.cpu_count` ignores both.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux
    cpus = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    quotas = _cgroup_quotas()
    return max(1, min([cpus, *(math.ceil(quota) for quota in quotas)]))


def _cgroup_quotas() -> list[float]:
    """CPU quotas of this process's cgroups (version 2 or 1) and of those above them, in CPUs."""
    try:
        entries = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    quotas = []
    for entry in entries:
        _, controllers, path = entry.split(":", 2)
        root = CGROUPS if not controllers else CGROUPS / "cpu"
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = root / path.lstrip("/")
        for level in (folder, *folder.parents):
            if not level.is_relative_to(root):
                break
            quota = _quota(level)
            if quota is not None:
                quotas.append(quota)
    return quotas


def _quota(folder: Path) -> float | None:
    """The quota of one cgroup in CPUs; None without a limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such file; "max"
        return None


def visible_gpus() -> list[str]:
    """Return the value of CUDA_VISIBLE_DEVICES that selects each of the GPUs given to this process.

    Numbers, UUIDs and MIG names are passed on as they are given. Without the variable these are the
    numbers 0, 1, ... of all GPUs; [] without a GPU.
    """
    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(number) for number in range(count)]
    if count == 0:
        return []
    names = [name.strip() for name in given.split(",")]
    if names[0].startswith("MIG-"):
        # One process sees only the first MIG device, so the count is 1 for any number of them.
        return [name for name in names if name.startswith("MIG-")]
    return names[:count]  # CUDA ignores an invalid name and all after it
