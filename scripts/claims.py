"""A verdict on each claim of the paper, from the tables of one protocol: `python scripts/claims.py results/quick`.

Writes the tables claims, targets and curves beside those it reads. The rules stand in configs/claims.yaml.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from clr.analysis.verdicts import rules as rules_of
from clr.analysis.verdicts.display import markdown, summary, terminal
from clr.analysis.verdicts.evidence import read
from clr.analysis.verdicts.table import judge
from clr.cli import run_main
from clr.runs.tables import write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a protocol's results, such as results/quick")
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print the table that the README shows, write nothing",
    )
    arguments = parser.parse_args()
    rules = rules_of.load()
    tables = judge(read(arguments.folder, rules.window_epochs), rules)
    if arguments.markdown:
        print(markdown(tables["claims"]))
        return
    for name, table in tables.items():
        write_table(table, arguments.folder, name)
    console = Console(width=None if sys.stdout.isatty() else 130)
    for shown in terminal(tables["claims"]):
        console.print(shown)
    told = f"{summary(tables['claims'])}; tables in {arguments.folder}"
    console.print(told, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run_main(main)
