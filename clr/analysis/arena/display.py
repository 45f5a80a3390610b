"""Tables of the arena for readers, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clr.analysis.arena.comparison import Standing
from clr.analysis.arena.cost import COMMAND, Costs
from clr.analysis.arena.targets import DEFAULT, TUNED
from clr.analysis.names import display_name
from clr.analysis.ratios import Ratio, number
from clr.analysis.verdicts.display import markdown_table
from clr.analysis.verdicts.rules import Rules
from clr.errors import UserError

Row = Mapping[Any, Any]
# CLR with the scale c; at c = 1/2 its rate is the step to the minimum of a bowl, 2E/‖g‖².
SCALED, HALF = "clr_scaled", 0.5
SETTING = ["data", "model", "batch_size", "setting"]
FLATTERED = (
    "The best value of a grid is selected on the same seeds, which flatters tuned methods "
    "slightly, the baseline included"
)


def summary(arena: pd.DataFrame, costs: Costs | None, rules: Rules) -> str:
    """Markdown table with one row per method over all settings, and its caption.

    Args:
        arena: table `arena` of one or more results folders.
        costs: cost of a step; None if it was not measured.
    """
    baseline, optimizer = display_name(rules.baseline), display_name(rules.optimizer)
    header = [
        "method",
        "tuned",
        f"loss / {baseline}, tuned",
        f"loss / {baseline}, default",
        f"compared with {baseline}",
        f"compared with {optimizer}",
        *(["step, time", "step, memory"] if costs else []),
    ]
    rows = []
    for name in dict.fromkeys(arena["optimizer"]):
        own = arena[arena["optimizer"] == name]
        key = own["key"].iloc[0]
        best = own[own["tuning"] == (TUNED if key else DEFAULT)]
        row = [
            display_name(name),
            _tuned(best) if key else "nothing",
            _over_settings(best, rules.baseline) if key else "–",
            _over_settings(own[own["tuning"] == DEFAULT], rules.baseline),
            _standings(best[f"standing_{rules.baseline}"]),
            _standings(best[f"standing_{rules.optimizer}"]),
        ]
        if costs:
            cost = costs.by_method.get(name)
            row += [f"{cost.time:.2f}×", f"{cost.memory:.2f}×"] if cost else ["–", "–"]
        rows.append(row)
    count = len(arena[SETTING].drop_duplicates())
    table = markdown_table(header, ["---", "---", *["--:"] * (len(header) - 2)], rows)
    return f"{table}\n\n{_summary_caption(baseline, optimizer, count, costs)}"


def _summary_caption(baseline: str, optimizer: str, count: int, costs: Costs | None) -> str:
    settings = "1 setting" if count == 1 else f"{count} settings"
    lines = [
        f"Loss / {baseline}: final training loss over that of the best fixed rate of {baseline}, "
        f"geometric mean over {settings} (lowest–highest setting); below 1 is lower. A method with "
        "nothing to tune runs at its defaults.",
        "Compared: number of settings by the outcome of the tuned method. Better and worse mean "
        "that the whole 95% t interval of the paired log ratio of the losses is on one side of 0; "
        "there is no correction for the number of comparisons, and the rows are not ranked.",
        f"{FLATTERED}.",
    ]
    if costs:
        lines.append(
            "Step: time of the optimizer's step, and memory of parameters, gradients and state, "
            f"over those of {baseline} ({costs.conditions}). Forward and backward pass are not "
            "part of it, nor is the Hessian-vector product that DAL takes at each step."
        )
    else:
        lines.append(f"The cost of a step has not been measured: `{COMMAND} FOLDER/cost.json`.")
    return " ".join(lines)


def _tuned(best: pd.DataFrame) -> str:
    """The grid of a method in words, such as "lr, 4 values (best at an edge in 1 of 2)"."""
    edges = int(best["at_edge"].sum())
    edge = f" (best at an edge in {edges} of {len(best)})" if edges else ""
    return f"{best['key'].iloc[0]}, {best['values'].max()} values{edge}"


def _over_settings(rows: pd.DataFrame, baseline: str) -> str:
    """Geometric mean over the settings of the loss over the baseline's, with the range."""
    values = [_over(row, baseline) for row in rows.to_dict("records")]
    known = [value for value in values if not math.isnan(value)]
    lost = sum(math.isinf(value) for value in known)
    if lost:
        return f"diverged in {lost} of {len(known)}"
    if not known:
        return "–"
    with np.errstate(divide="ignore"):
        mean = float(np.exp(np.mean(np.log(known))))
    if len(known) == 1:
        return number(mean, "")
    return f"{number(mean, '')} ({number(min(known), '')}–{number(max(known), '')})"


def _over(row: Row, baseline: str) -> float:
    """Ratio of a row; 1 for the baseline itself."""
    is_itself = row["optimizer"] == baseline and pd.isna(row[f"over_{baseline}"])
    return 1.0 if is_itself else float(row[f"over_{baseline}"])


def _standings(standings: pd.Series) -> str:
    """Number of settings by outcome, such as "2 better, 1 undecided"."""
    counts = standings.value_counts()
    parts = [f"{counts[str(kind)]} {kind}" for kind in Standing if counts.get(str(kind), 0)]
    return ", ".join(parts) or "–"


def half_scale(arena: pd.DataFrame, rules: Rules) -> str:
    """One line: whether c = 1/2 closes the gap between CLR and the best fixed rate.

    The gap is closed in a setting where CLR is worse than the best fixed rate and c = 1/2 is not.
    Empty if the table has no runs with c = 1/2.
    """
    is_half = (arena["optimizer"] == SCALED) & (arena["key"] == "c") & (arena["value"] == HALF)
    halves = arena[is_half].drop_duplicates(SETTING)
    if halves.empty:
        return ""
    clr = arena[(arena["optimizer"] == rules.optimizer) & (arena["tuning"] == DEFAULT)]
    gaps = clr.loc[clr[f"standing_{rules.baseline}"] == Standing.WORSE, SETTING].merge(halves)
    remains = gaps[f"standing_{rules.baseline}"].isin([Standing.WORSE, Standing.DIVERGED])
    narrows = remains & (gaps[f"standing_{rules.optimizer}"] == Standing.BETTER)
    baseline, optimizer = display_name(rules.baseline), display_name(rules.optimizer)
    losses = []
    for row in halves.to_dict("records"):
        parts = []
        for reference in (rules.optimizer, rules.baseline):
            ratio, standing = _comparison(row, reference)
            parts.append(f"{ratio} {standing} over {display_name(reference)}")
        losses.append(f"{row['data']} at batch size {row['batch_size']}: {', '.join(parts)}")
    return (
        f"Does c = 1/2, twice the rate, close the gap between {optimizer} and the best fixed rate? "
        f"{optimizer} is worse than {baseline} in {len(gaps)} of {len(halves)} settings. With "
        f"c = 1/2 the gap is closed in {len(gaps) - remains.sum()} of them, smaller in "
        f"{narrows.sum()} and not smaller in {remains.sum() - narrows.sum()}. Ratios of the final "
        f"training loss with {rules.interval.confidence:.0%} intervals: {'; '.join(losses)}."
    )


def settings(arena: pd.DataFrame, rules: Rules) -> str:
    """Markdown with a table for each setting: a row for each method, tuned and at its default."""
    parts = []
    for _, rows in arena.groupby(SETTING, sort=False):
        parts.append(f"### {setting_name(rows.iloc[0].to_dict())}\n\n{_setting_table(rows, rules)}")
    return "\n\n".join(parts)


def setting_name(row: Row) -> str:
    """Data, model, batch size and title of a setting."""
    title = f", {row['setting']}" if row["setting"] else ""
    return f"{row['data']}, {display_name(row['model'])}, batch size {row['batch_size']}{title}"


def _setting_table(rows: pd.DataFrame, rules: Rules) -> str:
    baseline, optimizer = display_name(rules.baseline), display_name(rules.optimizer)
    header = [
        "method",
        "value",
        "final training loss",
        f"over {baseline}, best rate",
        "",
        f"over {optimizer}",
        "",
        "test accuracy, %",
    ]
    cells = []
    for row in rows.to_dict("records"):
        cells.append(
            [
                display_name(row["optimizer"]),
                _value(row),
                _loss(row),
                *_comparison(row, rules.baseline),
                *_comparison(row, rules.optimizer),
                _spread(row, "final_accuracy", 100, ".1f"),
            ]
        )
    align = ["---", "---", "--:", "--:", "---", "--:", "---", "--:"]
    return markdown_table(header, align, cells)


def _value(row: Row) -> str:
    """The argument's value, such as "lr 0.1, tuned" or "default"."""
    if not row["key"]:
        return "default"
    if row["tuning"] == TUNED and pd.isna(row["value"]):
        return f"{row['key']}, all values"
    value: str = "none" if pd.isna(row["value"]) else format(row["value"], "g")
    edge = " (edge of the grid)" if row["at_edge"] else ""
    return f"{row['key']} {value}, {row['tuning']}{edge}"


def _loss(row: Row) -> str:
    if row["diverged"]:
        return f"{row['diverged']} of {row['runs']} runs diverged"
    return _spread(row, "final_loss", 1, ".3g")


def _spread(row: Row, name: str, factor: float, digits: str) -> str:
    """Mean over the seeds with the lowest and the highest."""
    mean, low, high = (factor * float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    if math.isnan(mean):
        return "–"
    return f"{mean:{digits}} ({low:{digits}}–{high:{digits}})"


def _comparison(row: Row, reference: str) -> tuple[str, str]:
    """Ratio with its interval, and the standing."""
    standing = row[f"standing_{reference}"]
    if standing in ("", Standing.DIVERGED):
        return "–", standing
    ends = (row[f"over_{reference}{end}"] for end in ("", "_low", "_high"))
    return Ratio(*map(float, ends)).text("infinite"), standing


def page_blocks(arena: pd.DataFrame, costs: Costs | None, rules: Rules) -> dict[str, str]:
    """The parts of docs/arena.md that follow from the tables `arena`, by name."""
    blocks = {
        "summary": summary(arena, costs, rules),
        "half": half_scale(arena, rules),
        "settings": settings(arena, rules),
    }
    return {name: block for name, block in blocks.items() if block}


def update_page(page: Path, blocks: Mapping[str, str]) -> bool:
    """Replace the blocks of a page between `<!-- arena NAME -->` and `<!-- end of arena NAME -->`.

    Returns:
        Whether the page changed.

    Raises:
        UserError: if the page lacks all of the blocks.
    """
    if not page.is_file():
        raise UserError(f"{page} is not a file; give a page such as docs/arena.md")
    text = page.read_text(encoding="utf-8")
    new, count = text, 0
    for name, content in blocks.items():
        begin, end = f"<!-- arena {name} -->", f"<!-- end of arena {name} -->"
        before, found, rest = new.partition(begin)
        _, closed, after = rest.partition(end)
        if found and closed:
            new = f"{before}{begin}\n\n{content}\n\n{end}{after}"
            count += 1
    if not count:
        names = " or ".join(f"<!-- arena {name} -->" for name in blocks)
        raise UserError(f"{page} has no {names}; add one with its end, as in docs/arena.md")
    if new != text:
        page.write_text(new, encoding="utf-8")
    return new != text
