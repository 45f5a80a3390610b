"""Judge the paper's claims by the results of one protocol.

Writes the tables claims, targets and curves to the folder and prints the verdicts. The rules are in
configs/claims.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from clr.analysis import tables as figure_tables
from clr.analysis.cells import cells_markdown, read_cells
from clr.analysis.verdicts import display
from clr.analysis.verdicts import rules as claim_rules
from clr.analysis.verdicts.evidence import read
from clr.analysis.verdicts.table import judge
from clr.cli import run_main
from clr.errors import UserError
from clr.runs.tables import write_table


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python scripts/claims.py results/quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="results of a protocol, such as results/quick",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--markdown",
        action="store_true",
        help="print the table of docs/results.md instead; write no files",
    )
    form.add_argument(
        "--matrix",
        action="store_true",
        help="print the matrix of README.md (settings × claims) instead, one for all folders; "
        "write no files",
    )
    form.add_argument(
        "--cells",
        action="store_true",
        help="print the numbers of the figure of the cells as Markdown instead; write no files",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    rules = claim_rules.load()
    if arguments.matrix:
        claims = [_judge(folder, rules)["claims"] for folder in arguments.folders]
        print(display.matrix(pd.concat(claims, ignore_index=True)))
        return
    for folder in arguments.folders:
        if arguments.cells:
            print(_cells(folder, rules))
        elif arguments.markdown:
            print(display.markdown(_judge(folder, rules)["claims"]))
        else:
            _write(folder, rules)


def _judge(folder: Path, rules: claim_rules.Rules) -> dict[str, pd.DataFrame]:
    return judge(read(folder, rules.window_epochs), rules)


def _write(folder: Path, rules: claim_rules.Rules) -> None:
    """Judge one folder, write its tables and print the verdicts."""
    tables = _judge(folder, rules)
    claims = tables["claims"]
    for name, table in tables.items():
        write_table(table, folder, name)
    display.print_tables(display.terminal(claims))
    print(display.written(claims))
    print(f"{display.summary(claims)}; tables in {folder}")


def _cells(folder: Path, rules: claim_rules.Rules) -> str:
    figures = figure_tables.read(folder)
    if "cells" not in figures:
        raise UserError(
            f"{folder} has no runs of the figure cells; train them with: "
            "make reproduce PROTOCOL=grid"
        )
    return cells_markdown(read_cells(figures["cells"], rules), rules.baseline)


if __name__ == "__main__":
    run_main(main)
