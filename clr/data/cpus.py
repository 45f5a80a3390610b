"""Number of CPUs that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def available_cpus(cgroups: Path = CGROUPS) -> int:
    """CPUs that this process may use, at least 1: its affinity mask, capped by the cgroup quota.

    `os.cpu_count()` counts the CPUs of the host instead, also under `taskset`, in a container with
    a CPU limit and in a SLURM job. The quota is that of the process's root cgroup, which is what a
    container sees as its own; versions 1 and 2 of cgroups are supported.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    cpus = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    quota = _cgroup_quota(cgroups)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def _cgroup_quota(cgroups: Path) -> float | None:
    """CPU time per time that the cgroup allows, in CPUs; None if unlimited or unknown."""
    try:  # version 2: "MAX PERIOD" in microseconds, MAX may be "max"
        quota, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:  # version 1; the quota is -1 if unlimited
            quota = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None
