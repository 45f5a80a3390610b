"""The package: its dependencies, their pins and its version."""

import ast
import re
import sys
import tomllib

import yaml
from markdown_pages import ROOT, tracked
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import clr

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Extras with a file of pins of their own.
OPTIONAL = ("ffcv", "examples", "tensorboard", "docs", "arena", "bench")


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
    for name in OPTIONAL:
        named = {canonicalize_name(Requirement(line).name) for line in EXTRAS[name]} - {"clr"}
        assert set(pins(f"requirements-{name}.txt")) == named, name


def test_every_requirements_file_belongs_to_extras():
    files = {path.name for path in tracked("requirements*.txt")}
    assert files == {"requirements.txt", *(f"requirements-{name}.txt" for name in OPTIONAL)}


def test_pinned_versions_satisfy_the_lower_bounds():
    files = ("requirements.txt", *(f"requirements-{name}.txt" for name in OPTIONAL))
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
    own = {"clr", "hydra-plugins", "train", "sweep", "digits"}
    own |= {f"bench-{name}" for name in ("images", "table", "timing")}
    known = set(required(*EXTRAS)) | own
    folders = ("clr", "scripts", "bench", "hydra_plugins", "examples", "website")
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
    heading = f"## [{clr.__version__}] - {citation['date-released']}\n"
    assert heading in (ROOT / "CHANGELOG.md").read_text()
