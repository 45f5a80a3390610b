"""Copy the completed runs of other stores into one.

Runs that both stores have must have the same records; otherwise nothing is copied.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clr.cli import run_main
from clr.runs.merge import merge
from clr.runs.store import Store


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python scripts/merge_runs.py /copied/from/the/cluster/runs --into runs",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", type=Path, nargs="+", help="stores, or copies of them")
    parser.add_argument(
        "--into",
        type=Path,
        default=Path("runs"),
        help="store that receives the runs (default: runs)",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    for source in arguments.sources:
        copied = merge(Store(source), Store(arguments.into))
        print(f"{source}: {len(copied)} runs copied into {arguments.into}")


if __name__ == "__main__":
    run_main(main)
