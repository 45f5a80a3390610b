"""Write a protocol's results as one page that opens without a network: `python scripts/report.py results/quick`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from figures import DRAW
from pages.page import build

from clr.errors import UserError
from clr.records import write_text


def write(folder: Path) -> Path:
    """Write `folder`/report.html, from the tables, figures and claims in `folder`."""
    path = folder / "report.html"
    write_text(build(folder, DRAW), path)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a protocol's results, such as results/quick")
    try:
        path = write(parser.parse_args().folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
