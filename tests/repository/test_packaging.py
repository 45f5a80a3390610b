"""The package: dependencies, what the wheel holds, and what it needs to be imported."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from markdown_pages import ROOT, tracked
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import clr

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
WHEEL_BYTES = 300_000


def pins(name):
    """Package and version of each line of a requirements file."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[\w-]+==[\w.]+", line), f"{name}: {line} is not an exact version"
    return {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in lines}


def required(*extras):
    """The requirements of the package with these extras, by name; references to itself left out."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r for r in parsed if r.name != PROJECT["name"]}


def test_requirements_pin_what_the_extras_name():
    assert set(pins("requirements.txt")) == set(required("train", "report", "slurm", "dev"))
    ffcv = {canonicalize_name(Requirement(line).name) for line in EXTRAS["ffcv"]} - {"clr"}
    assert set(pins("requirements-ffcv.txt")) == ffcv
    examples = {canonicalize_name(Requirement(line).name) for line in EXTRAS["examples"]} - {"clr"}
    assert set(pins("requirements-examples.txt")) == examples


def test_pinned_versions_satisfy_the_lower_bounds():
    files = ("requirements.txt", "requirements-ffcv.txt", "requirements-examples.txt")
    versions = {name: version for file in files for name, version in pins(file).items()}
    for name, requirement in required(*EXTRAS).items():
        assert requirement.specifier.contains(versions[name]), f"{requirement}: {versions[name]}"


def test_extras_refer_to_existing_extras():
    for lines in EXTRAS.values():
        for requirement in (Requirement(line) for line in lines if line.startswith("clr[")):
            assert requirement.extras <= set(EXTRAS), requirement


def test_environment_yml_installs_the_pinned_requirements():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["-r requirements.txt", "-r requirements-ffcv.txt"]
    assert "python=3.11" in environment["dependencies"]
    assert PROJECT["requires-python"] == ">=3.11"


def test_every_imported_package_is_a_dependency():
    """Of the library and its programs; what a dependency brings along counts as its own."""
    distribution = {
        "hydra": "hydra-core",
        "PIL": "pillow",
        "cv2": "opencv-python",
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
        "markdown_it": "markdown-it-py",
        "markupsafe": "jinja2",
        "mpl_toolkits": "matplotlib",
    }
    known = set(required(*EXTRAS)) | {"clr", "hydra-plugins", "train", "sweep", "digits"}
    folders = ("clr", "scripts", "bench", "hydra_plugins", "examples")
    for path in tracked(*(f"{folder}/*.py" for folder in folders)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [str(node.module)]
            else:
                continue
            for package in {module.partition(".")[0] for module in modules}:
                name = canonicalize_name(distribution.get(package, package))
                listed = name in known or package in sys.stdlib_module_names
                assert listed, f"{path.relative_to(ROOT)} imports {package}; no extra names {name}"


def test_every_url_is_of_the_paper():
    assert set(PROJECT["urls"].values()) == {"https://arxiv.org/abs/2402.08818"}


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == clr.__version__
    assert f"## [{clr.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the tracked files: a build writes into its source folder."""
    pytest.importorskip("setuptools", reason="builds the wheel without network")
    folder = tmp_path_factory.mktemp("wheel")
    for path in tracked("clr", "hydra_plugins", "tests", "configs", "*.toml", "*.md", "LICENSE"):
        copy = folder / "source" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "--no-index", "--wheel-dir", folder, folder / "source"],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_is_small(wheel):
    size = wheel.stat().st_size
    assert size < WHEEL_BYTES, f"{size:,} bytes"


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"clr", f"clr-{clr.__version__}.dist-info"}, tops
    packaged = {str(path.relative_to(ROOT)) for path in tracked("clr")}
    assert packaged <= names, f"the wheel lacks {sorted(packaged - names)}"


@pytest.mark.slow
def test_the_wheel_needs_torch_numpy_and_scipy_alone(wheel, tmp_path):
    """Import the unpacked wheel where every other package of the environment is refused."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    others = sorted(
        {"hydra", "omegaconf", "pandas", "wandb", "torchvision", "yaml", "rich", "matplotlib"}
        | {"submitit", "ffcv", "sklearn", "PIL", "pyarrow"}
    )
    code = f"""
import sys
sys.modules.update(dict.fromkeys({others}))  # importing any of them raises ImportError
import clr, clr.geometry
from clr import CLR
import torch
weight = torch.nn.Parameter(torch.ones(2))
loss = weight.square().sum()
loss.backward()
CLR([weight]).step(loss=loss)
print(clr.__file__)
print(weight.tolist())
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONNOUSERSITE": "1"}
    run = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    location, weight = run.stdout.splitlines()
    assert Path(location).is_relative_to(tmp_path), f"imported {location}, not the wheel"
    assert weight == "[0.5, 0.5]"
