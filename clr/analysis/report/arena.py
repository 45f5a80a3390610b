"""Tables of the arena in the report."""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from clr.analysis.arena.cost import read_costs
from clr.analysis.arena.display import page_blocks
from clr.analysis.arena.table import read_table
from clr.analysis.tables import ARENA
from clr.analysis.verdicts import rules
from clr.runs.tables import Results


def arena_html(folder: Path, results: Results) -> Markup:
    """The tables of docs/arena.md as HTML; empty if the folder has no runs of the arena.

    Raises:
        UserError: if scripts/arena.py has not been run, or its table is damaged.
    """
    needed = results.figure_runs.loc[results.figure_runs["figure"] == ARENA, "run_id"]
    if not results.runs["run_id"].isin(needed).any():
        return Markup("")
    blocks = page_blocks(read_table(folder), read_costs(folder), rules.load())
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = str(markdown.render("\n\n".join(blocks.values())))
    # Wide tables scroll in a box of their own.
    boxed = html.replace("<table>", '<div class="box"><table>')
    return Markup(boxed.replace("</table>", "</table></div>"))
