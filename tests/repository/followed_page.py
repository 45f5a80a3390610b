"""A page of the documentation that is followed word for word in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from markdown_pages import ROOT, tokens, tracked

FOLDERS = ("clr/*", "configs/*", "docs/*.md", "hydra_plugins/*", "scripts/*.py")
COPIED = (*FOLDERS, "train.py", "sweep.py")


def steps(page: Path):
    """The steps of the page in order: ("write", path, text) and ("run", "", commands)."""
    found, saved_as = [], ""
    for token in tokens(page):
        if token.type == "inline":
            named = re.search(r"this\s+as\s+`([^`]+)`:$|it\s+as\s+`([^`]+)`:$", token.content)
            saved_as = next(filter(None, named.groups())) if named else ""
        elif token.type == "fence" and token.info in ("python", "yaml"):
            assert saved_as, f"the page does not say what to save this as: {token.content[:80]}"
            found.append(("write", saved_as, token.content))
        elif token.type == "fence" and token.info == "bash":
            found.append(("run", "", token.content))
    return found


def follow(page: Path, clone: Path) -> list[str]:
    """Follow the page in a new copy of the repository; return the output of each block."""
    copy_repository(clone)
    outputs = []
    for kind, path, text in steps(page):
        if kind == "write":
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_text(text)
        else:
            outputs.append(run(text, clone))
    return outputs


def copy_repository(folder: Path) -> None:
    """Copy the code and configs, with this interpreter's environment as .venv.

    As after `make .venv/ready`, the package can be imported everywhere, and nothing else of it.
    """
    for path in tracked(*COPIED):
        copied = folder / path.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copied)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "site").mkdir()
    (folder / "site/clr").symlink_to(folder / "clr")


def run(commands: str, folder: Path) -> str:
    """Run a block of shell commands in `folder`; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(folder / "site")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{commands}\n{output}"
    return output
