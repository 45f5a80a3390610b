"""The common look: colours, legends, the note below each figure, and files that are the same at every drawing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from clr.analysis.names import display_name
from clr.analysis.tables import Curve, Tables

# Okabe and Ito's colours, which the colour-blind can tell apart; line styles differ too, for print in grey.
LOOKS: dict[str, dict[str, Any]] = {
    "clr": {"color": "#0072B2", "linestyle": "-"},
    "sgd": {"color": "#D55E00", "linestyle": (0, (4, 1.5))},
}
OTHERS: list[dict[str, Any]] = [
    {"color": "#009E73", "linestyle": "-."},
    {"color": "#CC79A7", "linestyle": (0, (1, 1))},
    {"color": "#56B4E9", "linestyle": (0, (6, 1.5, 1, 1.5, 1, 1.5))},
]
# CLR's blue from dark to light, where its curves are told apart by batch size.
SHADES = LinearSegmentedColormap.from_list("clr", ["#00253F", "#0072B2", "#7CC8F2"])
STYLES: list[Any] = ["-", (0, (4, 1.5)), "-.", (0, (1, 1)), (0, (6, 1.5, 1, 1.5, 1, 1.5))]
SCOPE = 50  # letters of a panel's title in a line
INK, QUIET, WARNING = "#222222", "#555555", "#A00000"

RC: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.framealpha": 0.85,  # where no corner is free, the curves behind it still show through
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "legend.handlelength": 2.2,
    "legend.labelspacing": 0.3,
    "figure.titlesize": 9,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "lines.linewidth": 1.5,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType: the text stays text
    "svg.hashsalt": "clr",  # else each drawing has other ids
}


def looks(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The look of each optimizer among `runs`: the same in all panels of a figure."""
    others = sorted(set(runs["optimizer"]) - set(LOOKS))
    return LOOKS | {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(others)}


def shades(n: int) -> list[dict[str, Any]]:
    """The looks of CLR's curves at `n` batch sizes: the solid and dark one first, for those above must not hide it.

    A single one looks as CLR does in the other figures.
    """
    if n == 1:
        return [LOOKS["clr"]]
    return [{"color": SHADES(i / (n - 1)), "linestyle": STYLES[i % len(STYLES)]} for i in range(n)]


def draw(
    ax: Axes,
    drawn: list[tuple[Curve, pd.DataFrame]],
    look: dict[str, dict[str, Any]],
    ylim: tuple[float, float] | None,
) -> None:
    """Mean and band of the main curves, the mean alone of the others; a cross where the first seed diverged.

    `ylim` are the limits of a logarithmic axis; None is a linear one with limits of its own.
    """
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], nbins=6))
    if ylim:
        ax.set_yscale("log")
        ax.set_ylim(ylim)
        plain_ticks(ax)
    faint = [curve for curve, _ in drawn if not curve.main]
    for curve, points in drawn:
        if points.empty:
            continue
        # One name on all that is drawn of a curve: pages.interactive puts it together again.
        name = curve.name if curve.rate is None else f"{curve.name} {curve.rate:g}"
        x, mean = points.index.to_numpy(), points["mean"].to_numpy()
        # Few points would otherwise hide how few they are.
        marker: dict[str, Any] = {"marker": "o", "markersize": 2.2} if len(x) <= 20 else {}
        if curve.main:
            line = look[curve.optimizer]
            ax.fill_between(
                x,
                points["low"],
                points["high"],
                color=line["color"],
                alpha=0.2,
                linewidth=0,
                gid=name,
            )
            ax.plot(x, mean, label=curve.label, gid=name, **line, **marker)
        else:
            line = {"color": grey(faint.index(curve), len(faint)), "linewidth": 0.8}
            ax.plot(x, mean, label=f"_other {curve.optimizer} {curve.rate:g}", gid=name, **line)
        if curve.diverged:
            # A loss that ran out of the picture has its cross at the upper edge.
            y = min(mean[-1], ax.get_ylim()[1])
            color = line["color"] if curve.main else INK
            cross: dict[str, Any] = {"markersize": 4.5, "clip_on": False, "zorder": 5}
            ax.plot(x[-1], y, "x", color=color, label="_diverged", gid=name, **cross)


def plain_ticks(ax: Axes) -> None:
    """0.01, not a power of ten; on a short axis some numbers between as well, on a very short one equal distances."""
    low, high = ax.get_ylim()
    if high < 4 * low:
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        ax.yaxis.set_minor_locator(NullLocator())
    between = "235" if high < 60 * low else "25" if high < 500 * low else ""
    ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    ax.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in between else "")


def caps(ax: Axes, runs: pd.DataFrame) -> list[float]:
    """Draw the caps that the rates of `runs` have, and return them."""
    found = sorted(runs["max_lr"].dropna().unique())
    for cap in found:
        ax.axhline(
            cap, label=f"cap of the rate: {cap:g}", color=INK, linewidth=1.2, linestyle=(0, (1, 2))
        )
    return found


def scope(data: object, *rest: object) -> str:
    """The title of a panel: data above model and batch size, unless it is so long that all has to be broken anew."""
    told = ", ".join(display_name(part) for part in rest)
    return f"{data}\n{told}" if len(str(data)) <= SCOPE else textwrap.fill(f"{data}, {told}", SCOPE)


def grey(i: int, n: int) -> str:
    """From light for the smallest rate to dark for the largest."""
    return str(round(0.80 - 0.30 * i / max(n - 1, 1), 3))


def log_limits(
    drawn: list[tuple[Curve, pd.DataFrame]], also: Iterable[float] = (), rows: int = 0
) -> tuple[float, float]:
    """Limits that show the main curves, the ends of the others, and `also`, and above them `rows` of a legend.

    Curves that diverged don't count, if there are any others: their way to infinity would flatten the rest.
    """
    drawn = [(curve, points) for curve, points in drawn if len(points)]
    kept = [(c, p) for c, p in drawn if not c.diverged] or drawn
    values = [
        (p[["low", "high"]] if c.main else p[["mean"]].iloc[[0, -1]]).to_numpy().ravel()
        for c, p in kept
    ]
    shown = np.concatenate([*values, list(also)])
    shown = shown[shown > 0]
    if not len(shown):
        return 0.1, 10.0  # every run diverged at once: an empty picture, whose legend says so
    low, high = float(shown.min()), float(shown.max())
    pad = max(high / low, 2) ** 0.05
    return low / pad, high * pad * (high / low) ** (0.12 * rows)


def legend(ax: Axes, others: list[Curve]) -> None:
    """The main curves by name, CLR first; then an entry for each sweep's other rates, one for those that diverged."""
    handles, _ = ax.get_legend_handles_labels()
    handles = handles[::-1]
    for optimizer in dict.fromkeys(curve.optimizer for curve in others):
        own = [curve for curve in others if curve.optimizer == optimizer]
        name = display_name(optimizer)
        rates = [f"{curve.rate:g}" for curve in own if not curve.diverged]
        if rates:
            # The first and the last: a list of a dozen rates would hide the curves.
            label = f"{name}, others: {'–'.join(dict.fromkeys((rates[0], rates[-1])))}"
            handles.append(Line2D([], [], color=grey(1, 3), linewidth=0.8, label=label))
        gone = [f"{curve.rate:g}" for curve in own if curve.diverged]
        if gone:
            cross: dict[str, Any] = {"marker": "x", "markersize": 4.5, "markeredgecolor": INK}
            label = f"{name}, diverged: {', '.join(gone)}"
            handles.append(Line2D([], [], color=grey(1, 3), linewidth=0.8, label=label, **cross))
    ax.legend(handles=handles)


def describe(figure: Figure, tables: Tables, title: str, notes: list[str]) -> None:
    """The title above, with a mark if runs are missing, and below it all that one must know to read the picture."""
    runs, protocol = tables.runs, tables.protocol
    missing = tables.named - len(runs)
    partial = f" (partial: {missing} of {tables.named} runs missing)" if missing else ""
    write_above(figure, title + partial, color=WARNING if missing else INK)

    facts = [_facts(of) for _, of in runs.groupby(["dataset", "data_label", "model"])]
    kind = "Scaled-down protocol" if protocol["scaled"] else "Protocol"
    notes = [f"{kind} “{protocol['name']}”: {protocol['title']}.", *notes]
    if runs["seed"].nunique() > 1:
        notes.append(
            "Lines are means over the seeds, bands reach from the lowest to the highest seed."
        )
    labels = [str(line.get_label()) for ax in figure.axes for line in ax.lines]
    if any(label.startswith("_other") for label in labels):
        notes.append("Grey: the other rates, larger ones darker.")
    if "_diverged" in labels:
        notes.append("× marks where the first seed of a curve diverged.")
    write_below(figure, [*facts, " ".join(notes)])


def write_above(figure: Figure, title: str, color: str = INK) -> None:
    figure.suptitle(title, x=0.01, ha="left", weight="bold", color=color)


def write_below(figure: Figure, paragraphs: list[str]) -> None:
    """Small print at the foot of the figure, in lines of its width."""
    width = int(figure.get_figwidth() * 21)
    text = "\n".join(textwrap.fill(part, width) for part in paragraphs)
    figure.supxlabel(text, x=0.01, ha="left", fontsize=6.5, color=QUIET, linespacing=1.4)
    # Not broken into lines, and with plain spaces: `save` puts it into the picture's file.
    figure.set_label("\n".join(" ".join(part.split()) for part in paragraphs))


def _facts(runs: pd.DataFrame) -> str:
    """What was run, of the runs on one data set with one model."""
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
    facts += [
        f"{display_name(name)} capped at {cap:g}" for name, cap in capped.itertuples(index=False)
    ]
    # Lines are broken between facts.
    return " · ".join(fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts)


def _join(values: pd.Series) -> str:
    return ", ".join(map(str, sorted(set(values))))


def save(figure: Figure, path: Path) -> list[Path]:
    """`path`.png, .pdf and .svg, without dates or versions, so that the same tables give the same bytes.

    The PNG carries its title and caption as text, for the report.
    """
    words = {"Title": figure.get_suptitle(), "Description": str(figure.get_label())}
    nameless: dict[str, dict[str, str | None]] = {
        "png": {"Software": None, **words},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "svg": {"Date": None, "Creator": None},
    }
    paths = [path.with_suffix(f".{kind}") for kind in nameless]
    # In an SVG they would be ids, each given to several of its parts.
    for artist in figure.findobj(lambda artist: artist.get_gid() is not None):
        artist.set_gid(None)
    # Laid out once: with an engine for that, each file is laid out anew and drawn twice.
    figure.draw_without_rendering()
    with rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
        for file, metadata in zip(paths, nameless.values(), strict=True):
            figure.savefig(file, metadata=metadata)
    return paths
