"""Dependencies of `clr` and its parts, the example of `CLR`, and compilation around it."""

import doctest
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

import clr
import clr.optim
from clr import CLR

ROOT = Path(__file__).resolve().parents[2]

LOADED = """
import json, sys
before = set(sys.modules)
{imports}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded_modules(imports):
    """Names of the modules that a fresh interpreter loads for the statements `imports`."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(imports=imports)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_optimizer_and_geometry_need_torch_numpy_and_scipy_alone():
    libraries = loaded_modules("import numpy, torch, scipy.integrate, torch.distributed.tensor")
    ours = loaded_modules(
        "import numpy, torch, scipy.integrate, torch.distributed.tensor\n"
        "from clr import CLR\nimport clr.geometry, clr.reference"
    )
    packages = {name.partition(".")[0] for name in ours - libraries} - set(sys.stdlib_module_names)
    assert packages <= {"clr", "torch", "numpy", "scipy"}
    modules = {name for name in ours - libraries if name.startswith("clr")}
    allowed = {"clr", "clr.optim", "clr.reference", "clr.step", "clr.geometry"}
    assert {name for name in modules if ".".join(name.split(".")[:2]) not in allowed} == set()


@pytest.mark.slow
def test_the_optimizer_needs_torch_alone():
    libraries = loaded_modules("import torch")
    ours = loaded_modules("import torch\nfrom clr import CLR\nimport clr.reference")
    packages = {name.partition(".")[0] for name in ours - libraries} - set(sys.stdlib_module_names)
    assert packages <= {"clr", "torch"}


@pytest.mark.slow
def test_verdicts_and_report_do_not_load_torch():
    modules = loaded_modules("import scripts.claims, scripts.compare, scripts.report")
    assert "clr.analysis.report.page" in modules
    assert "torch" not in modules


@pytest.mark.slow
def test_training_starts_without_the_libraries_that_a_run_may_not_need():
    modules = loaded_modules("import train")
    assert "clr.training.trainer" in modules
    assert modules.isdisjoint({"scipy", "sklearn", "wandb", "ffcv", "numba", "matplotlib"})


def test_the_package_has_no_other_attribute():
    with pytest.raises(AttributeError, match="module 'clr' has no attribute 'CRL'"):
        clr.CRL  # noqa: B018


def test_the_version_has_one_source():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "clr.__version__"}
    assert clr.__version__.count(".") == 2


def test_the_example_of_the_docstring_runs():
    results = doctest.testmod(clr.optim)
    assert results.attempted >= 7
    assert results.failed == 0


def test_the_reference_implementation_is_short():
    assert len((ROOT / "clr" / "reference.py").read_text().splitlines()) <= 30


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.slow
def test_a_compiled_training_step_equals_the_uncompiled_one(backend):
    def build():
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = CLR(model.parameters())
        x = torch.randn(4, 3)

        def train_step():
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step(loss=loss.detach())
            return loss.detach()

        return train_step

    plain, compiled = build(), torch.compile(build(), backend=backend)
    for _ in range(3):
        assert compiled().item() == pytest.approx(plain().item(), rel=1e-6)


def test_a_compiled_step_with_a_closure():
    p = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = CLR([p])

    def closure():
        optimizer.zero_grad()
        loss = 0.5 * p.square().sum()
        loss.backward()
        return loss

    torch.compile(lambda: optimizer.step(closure), backend="eager")()
    assert p.tolist() == pytest.approx([1.5, 2.0])


def test_a_compiled_step_with_watched_losses():
    p = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = CLR([p])

    def train_step():
        for _ in range(2):
            loss = 0.5 * p.square().sum()
            optimizer.watch_loss(loss)
            (loss / 2).backward()
        optimizer.step()

    counters = torch._dynamo.utils.counters
    counters.clear()
    torch.compile(train_step, backend="eager")()
    assert p.tolist() == pytest.approx([1.5, 2.0])
    compiled_code_stopped = [reason for reason in counters["graph_break"] if "item()" in reason]
    assert not compiled_code_stopped
