"""Title above and caption below a figure."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from clr.analysis.figures import style
from clr.analysis.figures.panels import read_tag
from clr.analysis.figures.single_steps import MAX_VERTICES
from clr.analysis.names import display_name
from clr.analysis.tables import Tables

CHARACTERS_PER_INCH = 21  # of the caption


SPREAD = "Lines: mean over the seeds; bands: lowest to highest seed."


def describe(
    figure: Figure, tables: Tables, title: str, notes: list[str], spread: str = SPREAD
) -> None:
    """Write the title, and a caption with what was run, the protocol, `notes` and the legend.

    `spread` says how the curves summarize the seeds.

    The title says if runs are missing.
    """
    missing = ""
    if tables.missing:
        missing = f" (partial: {tables.missing} of {tables.planned} runs missing)"
    write_title(figure, title + missing, color=style.WARNING if missing else style.INK)
    facts = [_facts(runs) for _, runs in tables.runs.groupby(["dataset", "data_label", "model"])]
    protocol = tables.protocol
    kind = "Scaled-down protocol" if protocol["scaled"] else "Protocol"
    notes = [f"{kind} “{protocol['name']}”: {protocol['title']}.", *notes]
    if tables.runs["seed"].nunique() > 1:
        notes.append(spread)
    roles = {read_tag(line)[0] for ax in figure.axes for line in ax.lines}
    if "step" in roles:
        notes.append(_single_steps(tables))
    if "other" in roles:
        notes.append("Gray: the other learning rates, darker for larger ones.")
    if "diverged" in roles:
        notes.append("×: the first seed of this curve diverged here.")
    write_caption(figure, [*facts, " ".join(notes)])


def write_title(figure: Figure, title: str, color: str = style.INK) -> None:
    """Write the title of a figure at its upper left."""
    figure.suptitle(title, x=0.01, ha="left", weight="bold", color=color)


def write_caption(figure: Figure, paragraphs: list[str]) -> None:
    """Write a caption in small print below a figure, wrapped to its width."""
    width = int(figure.get_figwidth() * CHARACTERS_PER_INCH)
    text = "\n".join(textwrap.fill(paragraph, width) for paragraph in paragraphs)
    small = {"fontsize": 6.5, "color": style.QUIET, "linespacing": 1.4}
    figure.supxlabel(text, x=0.01, ha="left", **small)
    # `style.save` writes this version, without line breaks, into the PNG file.
    figure.set_label("\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))


def _single_steps(tables: Tables) -> str:
    """Sentence on the faint lines of `single_steps`."""
    longest = int(tables.steps["step"].max())
    if longest <= MAX_VERTICES:
        return "Faint: the single steps of the first seed."
    return (
        "Faint: the single steps of the first seed, of more than "
        f"{MAX_VERTICES} steps only the lowest and the highest of each {MAX_VERTICES // 2}th part."
    )


def _facts(runs: pd.DataFrame) -> str:
    """Data, model, budget and seeds of runs on one dataset with one model."""
    seeds = sorted(set(runs["seed"]))
    count = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    facts = [
        _join(runs["data_label"]),
        _join(runs["model"].map(display_name)),
        f"batch size {_join(runs['batch_size'])}",
        f"{_join(runs['epochs'])} epochs",
        _join(runs["precision"]),
        f"{count} ({', '.join(map(str, seeds))})",
    ]
    capped = runs[["optimizer", "max_lr"]].dropna().drop_duplicates()
    for name, cap in capped.itertuples(index=False):
        facts.append(f"{display_name(name)} capped at {cap:g}")
    # No-break spaces, so that lines break between facts.
    return " · ".join(fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts)


def _join(values: pd.Series) -> str:
    return ", ".join(map(str, sorted(set(values))))
