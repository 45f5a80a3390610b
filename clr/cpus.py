"""Number of CPUs that this process may use, as opposed to those that the host has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def available_cpus(cgroups: Path = CGROUPS) -> int:
    """Return the number of CPUs, at least 1: the process's affinity, capped by its cgroups' quotas.

    `os.cpu_count()` counts the CPUs of the host instead, also under `taskset`, in a container with
    a CPU limit and in a SLURM job. Versions 1 and 2 of cgroups are supported.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    cpus = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    quotas = [quota for folder in _cgroup_folders(cgroups) if (quota := _quota(folder)) is not None]
    return max(1, min([cpus, *(math.ceil(quota) for quota in quotas)]))


def _cgroup_folders(cgroups: Path) -> Iterator[Path]:
    """Yield the folders of this process's cgroups and of those above them, up to the roots."""
    yield from (cgroups, cgroups / "cpu")  # the roots, which a container sees as its own
    try:
        entries = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for entry in entries:
        _, controllers, path = entry.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / "cpu" if controllers else cgroups
        folder = root / path.lstrip("/")
        yield from (level for level in (folder, *folder.parents) if level.is_relative_to(root))


def _quota(folder: Path) -> float | None:
    """Return the quota of one cgroup in CPUs; None without a limit."""
    try:
        if (folder / "cpu.max").exists():  # version 2
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no such file; "max"
        return None
