"""Copy the completed runs of other stores into one: `python scripts/merge_runs.py CLUSTER/runs`."""

from __future__ import annotations

import argparse
from pathlib import Path

from clr.cli import run_main
from clr.runs.merge import merge
from clr.runs.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+", help="stores, or copies of them")
    parser.add_argument(
        "--into", type=Path, default=Path("runs"), help="the store that receives the runs"
    )
    given = parser.parse_args()
    for source in given.sources:
        copied = merge(Store(source), Store(given.into))
        print(f"{source}: {len(copied)} runs copied into {given.into}")


if __name__ == "__main__":
    run_main(main)
