"""docs/dependencies.md: the pinned packages, with the licenses that they state."""

import importlib.metadata
import importlib.util

import pytest
from markdown_pages import ROOT, between, tracked

from clr.errors import UserError

PAGE = ROOT / "docs/dependencies.md"


def table():
    """The rows of the page: package, version, file, license."""
    text = between(PAGE, "scripts/dependencies.py -->\n", "<!-- End of the table -->")
    lines = text.strip().splitlines()[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / "scripts/dependencies.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_lists_every_pin_and_no_other():
    pinned = {
        (*line.split("=="), path.name)
        for path in tracked("requirements*.txt")
        for line in path.read_text().splitlines()
        if not line.startswith("#")
    }
    rows = table()
    assert len(rows) == len(pinned) > 40
    assert {row[:3] for row in rows} == pinned


def test_licenses_are_those_of_the_installed_packages(script):
    compared = 0
    for name, version, _, license_name in table():
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional one
        assert script.license_of(name, version) == license_name, name
        compared += 1
    assert compared > 25


def test_another_version_than_the_pinned_one_is_refused(script):
    with pytest.raises(UserError, match=r"torch is installed as .*, pinned as 0\.1"):
        script.license_of("torch", "0.1")
    with pytest.raises(UserError, match="nothing-of-this-name is not installed"):
        script.license_of("nothing-of-this-name", "1.0")
