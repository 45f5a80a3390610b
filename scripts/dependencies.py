"""Print the table of docs/dependencies.md: each pinned dependency with its license.

Versions are those of requirements*.txt, licenses those that the installed packages state.
"""

import argparse
import importlib.metadata
from pathlib import Path

from clr.cli import run_main
from clr.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 120  # of a license's name; longer entries are its text
INSTALL = "make .venv/examples .venv/docs .venv/arena .venv/bench"
NOT_STATED = "not stated"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"install all of them first: {INSTALL}",
    )
    parser.parse_args()
    rows = [
        f"| {name} | {version} | {file.name} | {license_of(name, version)} |"
        for file in sorted(ROOT.glob("requirements*.txt"))
        for name, version in pins(file)
    ]
    print(
        "| package | version | pinned in | license |", "| --- | --- | --- | --- |", *rows, sep="\n"
    )


def pins(file: Path) -> list[tuple[str, str]]:
    """Names and versions in a requirements file, sorted by name."""
    lines = [line for line in file.read_text().splitlines() if "==" in line and line[0] != "#"]
    return sorted((name, version) for name, _, version in (line.partition("==") for line in lines))


def license_of(name: str, version: str) -> str:
    """The license of an installed package, as its metadata state it.

    Raises:
        UserError: if the package is not installed in this version.
    """
    try:
        installed = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"{name} is not installed; run {INSTALL}") from None
    if installed["Version"] != version:
        raise UserError(f"{name} is installed as {installed['Version']}, pinned as {version}")
    text = installed["License"].strip() if "License" in installed else ""
    classifiers = [c for c in installed.get_all("Classifier") or [] if c.startswith("License")]
    if "License-Expression" in installed:
        return installed["License-Expression"]
    if text and text != "UNKNOWN" and "\n" not in text and len(text) <= LONGEST:
        return text
    return ", ".join(c.rpartition(" :: ")[2] for c in classifiers) or NOT_STATED


if __name__ == "__main__":
    run_main(main)
