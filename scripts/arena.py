"""Compare the methods of the arena by the results of one protocol.

Writes the tables arena, arena_values, arena_targets and arena_race to each folder, and prints one
row for each method over all settings, and whether c = 1/2 closes the gap between CLR and the best
fixed rate.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from clr.analysis.arena.cost import read_costs
from clr.analysis.arena.display import page_blocks, update_page
from clr.analysis.arena.table import arena_tables, read_arena
from clr.analysis.verdicts import rules as claim_rules
from clr.cli import run_main
from clr.runs.tables import write_table


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python scripts/arena.py results/arena",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="results of a protocol, such as results/arena; cost.json is read from the first",
    )
    parser.add_argument(
        "--page",
        type=Path,
        action="append",
        default=[],
        help="also write the tables between the markers of this page, such as docs/arena.md",
    )
    return parser.parse_args()


def main() -> None:
    arguments, rules = parse_arguments(), claim_rules.load()
    joined = []
    for folder in arguments.folders:
        tables = arena_tables(read_arena(folder), rules)
        for name, table in tables.items():
            write_table(table, folder, name)
        joined.append(tables["arena"])
    blocks = page_blocks(
        pd.concat(joined, ignore_index=True), read_costs(arguments.folders[0]), rules
    )
    print(blocks["summary"])
    if "half" in blocks:
        print(f"\n{blocks['half']}")
    print(f"tables in {', '.join(map(str, arguments.folders))}")
    for page in arguments.page:
        changed = update_page(page, blocks)
        print(f"{page} {'is updated' if changed else 'is up to date'}")


if __name__ == "__main__":
    run_main(main)
