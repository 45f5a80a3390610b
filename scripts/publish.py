"""Put a protocol's figures and verdicts into W&B, next to its runs.

Project, group and mode are those of the runs; overrides such as wandb.mode=online change them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clr.analysis.publish import publish_results
from clr.cli import run_main


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python scripts/publish.py results/cpu wandb.mode=online",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="results of a protocol, such as results/quick")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="changes of the runs' config, such as wandb.mode=online or store=/data/runs",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    published = publish_results(arguments.folder, arguments.overrides)
    print(
        f"{published.figures} figures and {published.verdicts} verdicts: "
        f"W&B is {published.mode}, run {published.run}"
    )


if __name__ == "__main__":
    run_main(main)
