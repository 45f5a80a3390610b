"""docs/your-own.md, followed word for word in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from markdown_pages import ROOT, tokens, tracked

PAGE = ROOT / "docs/your-own.md"
COPIED = ("clr/*", "configs/*", "hydra_plugins/*", "scripts/*.py", "train.py", "sweep.py")


def steps():
    """The steps of the page in order: ("write", path, text) and ("run", "", commands)."""
    found, saved_as = [], ""
    for token in tokens(PAGE):
        if token.type == "inline":
            named = re.search(r"this as\s+`([^`]+)`:$|it as\s+`([^`]+)`:$", token.content)
            saved_as = next(filter(None, named.groups())) if named else ""
        elif token.type == "fence" and token.info in ("python", "yaml"):
            assert saved_as, f"the page does not say what to save this as: {token.content[:80]}"
            found.append(("write", saved_as, token.content))
        elif token.type == "fence" and token.info == "bash":
            found.append(("run", "", token.content))
    return found


def copy_repository(folder: Path) -> Path:
    """A copy of the code and configs, with this interpreter's environment as .venv.

    As after `make .venv/ready`, the package can be imported everywhere, and nothing else of it.
    """
    for path in tracked(*COPIED):
        copied = folder / path.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copied)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "site").mkdir()
    (folder / "site/clr").symlink_to(folder / "clr")
    return folder


def written_to_checkout():
    """Files and folders of the page that are in the checkout."""
    files = [path for kind, path, _ in steps() if kind == "write"]
    paths = [ROOT / path for path in (*files, "shapes", "results/shapes")]
    paths += [*(ROOT / "runs").glob("shapes-*"), *(ROOT / "data").glob("shapes-*")]
    return [path for path in paths if path.exists()]


def run(commands, folder):
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


def test_the_page_has_the_steps_it_promises():
    written = [path for kind, path, _ in steps() if kind == "write"]
    assert len(written) == len(set(written)) == 7
    assert len([kind for kind, _, _ in steps() if kind == "run"]) == 4
    assert not written_to_checkout(), "a reader would replace it"


@pytest.mark.slow
def test_a_reader_who_follows_the_page_gets_the_figure(tmp_path):
    clone, outputs = copy_repository(tmp_path / "clone"), []
    for kind, path, text in steps():
        if kind == "write":
            (clone / path).write_text(text)
        else:
            outputs.append(run(text, clone))
    assert not written_to_checkout()
    assert "finished: 8 steps" in outputs[1]
    assert "finished: 8 steps" in outputs[2]
    assert "14 runs, 0 completed before" in outputs[3]

    results = clone / "results/shapes"
    runs = pd.read_csv(results / "runs.csv")
    assert set(runs["status"]) == {"finished"}
    assert set(runs["model"]) == {"small_net"}
    assert set(runs["data_label"]) == {"Shapes"}
    counts = runs["optimizer"].value_counts().to_dict()
    assert counts == {"clr": 2, "sgd": 6, "sign_sgd": 6}
    assert runs["run_id"].str.startswith("shapes-small_net-b30-").all()
    for suffix in ("png", "pdf", "svg"):
        assert (results / f"figures/figure2.{suffix}").stat().st_size > 1000
    text = (results / "figures/figure2.svg").read_text()
    for shown in ("sign_sgd", "SGD", "CLR", "small_net", "Shapes"):
        assert shown in text, f"the figure does not name {shown}"
