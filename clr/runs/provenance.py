"""Provenance of a run: revision of the code, versions of libraries, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "hydra-core", "wandb")
_UNKNOWN = "unknown"


def hardware() -> str:
    """One line: the processor, the cores that this process may use, and the GPUs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    line = f"{_processor()}, {cores} cores"
    if torch.cuda.is_available():
        line += f", {torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    return line


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if "model name" in line:
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@cache
def revision(folder: Path = Path(__file__).parent) -> str:
    """The git revision of the code in `folder`, followed by -dirty if files were changed.

    A checkout of another user is accepted, which git refuses by default. The result is `unknown`,
    with a warning on stderr, if git is not installed or does not track the code in `folder`.
    """
    try:
        # Code that is installed inside of another project's checkout is not part of that project.
        _git(folder, "ls-files", "--error-unmatch", ".")
        return _git(folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None)
        reason = output.strip().splitlines()[0] if output and output.strip() else str(error)
        print(f"warning: the git revision is not recorded: {reason}", file=sys.stderr, flush=True)
        return _UNKNOWN


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()


def provenance() -> dict[str, Any]:
    """The provenance of a run that is trained by this process, as plain values."""
    return {
        "revision": revision(),
        "hardware": hardware(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
