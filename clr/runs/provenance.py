"""What a run stood on: revision, versions, hardware. Stored with each run, printed by the benches."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "hydra-core", "wandb")


def hardware() -> str:
    """One line: the processor, its cores, and the GPUs if there are any."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if "model name" in line
        ]
        cpu = names[0] if names else cpu
    line = f"{cpu}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"
    if torch.cuda.is_available():
        line += f", {torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    return line


def revision() -> str:
    """The git revision of the code, with `-dirty` after it if files have changed since; `unknown` outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


def provenance() -> dict[str, Any]:
    """All of it, as plain values."""
    return {
        "revision": revision(),
        "hardware": hardware(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
