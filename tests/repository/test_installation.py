"""The wheel and the source distribution: contents, size, installation in a clean environment."""

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from markdown_pages import ROOT, tracked
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import clr

pytestmark = pytest.mark.slow

WHEEL_BYTES = 200_000
FROM_A_CLONE = ("clr/analysis/", "clr/sweeps/")  # they need configs/ and results/
TRAIN = {"extra": "train"}
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
SDIST = "import sys, setuptools.build_meta as b; b.build_sdist(sys.argv[1])"


def run(*command, cwd):
    # In PYTHONPATH, pip would find this checkout and take it for installed.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(source, folder):
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder]
    run(*PIP, "wheel", *options, source, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the tracked files: a build writes into its source folder."""
    pytest.importorskip("setuptools", reason="builds without network")
    folder = tmp_path_factory.mktemp("sources")
    for path in tracked("clr", "hydra_plugins", "tests", "configs", "*.toml", "*.md", "LICENSE"):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    return build_wheel(sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel_of_sdist(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-c", SDIST, folder, cwd=sources)
    (sdist,) = folder.glob("*.tar.gz")
    return build_wheel(sdist, folder)


def test_the_wheel_is_small(wheel):
    size = wheel.stat().st_size
    assert size < WHEEL_BYTES, f"{size:,} bytes"


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"clr", f"clr-{clr.__version__}.dist-info"}, tops
    files = {str(path.relative_to(ROOT)) for path in tracked("clr")}
    library = {name for name in files if not name.startswith(FROM_A_CLONE)}
    assert {name for name in names if name.startswith("clr/")} == library
    assert "clr/py.typed" in library


def test_the_wheel_has_the_license_and_names_it(wheel):
    info = zipfile.Path(wheel) / f"clr-{clr.__version__}.dist-info"
    assert (info / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    metadata = importlib.metadata.PathDistribution(info).metadata
    assert metadata["License-Expression"] == "MIT"


def test_the_source_distribution_gives_the_same_wheel(wheel, wheel_of_sdist):
    first, second = (zipfile.ZipFile(path) for path in (wheel, wheel_of_sdist))
    assert sorted(first.namelist()) == sorted(second.namelist())
    for name in first.namelist():
        if name.startswith("clr/"):
            assert first.read(name) == second.read(name), name


def with_dependencies(names):
    """These installed distributions and all that they require, by canonical name."""
    found, queue = {}, [Requirement(name) for name in names]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name in found and extras <= found[name][1]:
            continue
        distribution = importlib.metadata.distribution(name)
        found[name] = distribution, extras | found.get(name, (None, set()))[1]
        for line in distribution.requires or []:
            required = Requirement(line)
            if required.marker and any(required.marker.evaluate({"extra": e}) for e in extras):
                required.marker = None
            queue.append(required)
    return {name: distribution for name, (distribution, _) in found.items()}


def clean_environment(folder, names):
    """Its Python: a virtual environment with the distributions `names` of this one, linked."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=ROOT)
    (packages,) = folder.glob("lib/python*/site-packages")
    for distribution in with_dependencies(names).values():
        for top in {Path(file).parts[0] for file in distribution.files or []} - {".."}:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (packages / top).exists():
                (packages / top).symlink_to(source)
    return folder / "bin" / "python"


def install(python, requirement):
    """Install without an index: what the package requires has to be there."""
    run(*PIP, "--python", python, "install", "--no-index", requirement, cwd=python.parent)


STEP = """
import clr, clr.geometry, torch
from clr import CLR
weight = torch.nn.Parameter(torch.ones(2))
loss = weight.square().sum()
loss.backward()
CLR([weight]).step(loss=loss)
print(clr.__file__)
print(weight.tolist())
"""


@pytest.mark.parametrize("built", ["wheel", "wheel_of_sdist"])
def test_pip_install_gives_the_optimizer_and_the_geometry(built, request, tmp_path):
    python = clean_environment(tmp_path / "venv", ["torch", "numpy", "scipy"])
    install(python, request.getfixturevalue(built))
    location, weight = run(python, "-I", "-c", STEP, cwd=tmp_path).splitlines()
    assert Path(location).is_relative_to(tmp_path), f"imported {location}"
    assert weight == "[0.5, 0.5]"


ALL_MODULES = """
import importlib, pkgutil, clr
ffcv = {"clr.data.ffcv_files", "clr.data.resize"}
arena = {"clr.methods.dadaptation", "clr.methods.prodigy"}
names = {m.name for m in pkgutil.walk_packages(clr.__path__, "clr.")} - ffcv - arena
print(*(importlib.import_module(name).__name__ for name in names), sep="\\n")
"""


def test_the_extra_train_gives_the_harness(wheel, tmp_path):
    info = zipfile.Path(wheel) / f"clr-{clr.__version__}.dist-info"
    lines = importlib.metadata.PathDistribution(info).requires or []
    required = [r for r in map(Requirement, lines) if not r.marker or r.marker.evaluate(TRAIN)]
    python = clean_environment(tmp_path / "venv", [r.name for r in required])
    install(python, f"{wheel}[train]")
    imported = run(python, "-I", "-c", ALL_MODULES, cwd=tmp_path).split()
    assert {"clr.training.trainer", "clr.data", "clr.runs.store"} <= set(imported)


def test_the_notebook_installs_the_wheel_next_to_it(wheel, tmp_path):
    notebook = json.loads((ROOT / "examples/corridors.ipynb").read_text())
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    needed = ["torch", "numpy", "scipy", "matplotlib", "scikit-learn", "pip"]
    python = clean_environment(tmp_path / "venv", needed)
    (tmp_path / wheel.name).write_bytes(wheel.read_bytes())
    check = "".join(first["source"]) + "\nimport clr.geometry\nprint(clr.__file__)"
    location = run(python, "-I", "-c", check, cwd=tmp_path)
    assert Path(location.strip()).is_relative_to(tmp_path / "venv")
