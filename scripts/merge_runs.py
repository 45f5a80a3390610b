"""Put the finished runs of other stores into one: `python scripts/merge_runs.py /from/the/cluster/runs --into runs`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clr.errors import Busy, UserError
from clr.runs.merge import merge
from clr.runs.store import Store


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+", help="stores, or copies of them")
    parser.add_argument("--into", type=Path, default=Path("runs"), help="the store that gets them")
    given = parser.parse_args()
    try:
        for source in given.sources:
            copied = merge(Store(source), Store(given.into))
            print(f"{source}: {len(copied)} runs put into {given.into}")
    except (UserError, Busy) as error:
        print(f"merge_runs.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
