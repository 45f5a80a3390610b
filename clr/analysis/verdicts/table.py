"""The verdicts as tables: every claim in every scope whose runs its figures show, and every claim that has none."""

from __future__ import annotations

from typing import Any

import pandas as pd

from clr.analysis.verdicts.baselines import curve_table
from clr.analysis.verdicts.claims import CLAIMS
from clr.analysis.verdicts.evidence import Records, Scope
from clr.analysis.verdicts.finding import NO_RATIO, Finding
from clr.analysis.verdicts.quicker import target_table
from clr.analysis.verdicts.rules import Rules

REPRODUCED, NOT_REPRODUCED, NOT_TESTED = "reproduced", "not reproduced", "not tested at this scale"
# What a claim says of a figure whose runs are not there, and with them its data, model and batch size.
ABSENT = {
    "converges": "CLR converges in Figure {}",
    "quicker": "CLR is quicker than the best fixed rate in Figure {}",
    "adapts": "CLR's rate adapts to training in Figure {}",
    "cap": "CLR's rate meets the cap on ImageNet alone in Figure {}",
}
DIGITS = 6  # of the numbers in the tables: what a sum in another order on another processor does not reach


def judge(records: Records, rules: Rules) -> dict[str, pd.DataFrame]:
    """The tables `claims`, `targets` and `curves`; their columns are explained in results/DICTIONARY.md."""
    rows: list[dict[str, Any]] = []
    for claim, find in CLAIMS.items():
        figures: list[str] = getattr(rules, claim).figures
        for scope in records.scopes:
            shown = [figure for figure in scope.figures if figure in figures]
            if shown and scope.of(rules.optimizer):
                rows.append(_row(claim, shown, scope, find(scope, rules), records.protocol, rules))
        rule = next(
            (row["rule"] for row in rows if row["claim"] == claim), ""
        )  # the same for all of them
        for figure in figures:
            if why := _why_absent(figure, records):
                rows.append(_absent(claim, figure, why, rule, records.protocol))
    tables = {
        "claims": pd.DataFrame(rows).astype({"batch_size": "Int64", "seeds": "Int64"}),
        "targets": pd.concat(
            [target_table(scope, rules) for scope in records.scopes], ignore_index=True
        ),
        "curves": pd.concat([curve_table(scope) for scope in records.scopes], ignore_index=True),
    }
    return {name: _rounded(table) for name, table in tables.items()}


def reservations_of_all(rules: Rules, seeds: int) -> str:
    """What makes runs no test of any claim, in words: the rest of each rule."""
    return (
        f"no test: other data than {' or '.join(rules.paper_data)}, fewer than {seeds} seeds or missing runs, or, "
        f"scaled down, no optimizer that brings the loss below {rules.not_tested.left_start:g} of its first value"
    )


def _row(
    claim: str,
    figures: list[str],
    scope: Scope,
    found: Finding,
    protocol: dict[str, Any],
    rules: Rules,
) -> dict[str, Any]:
    seeds = max(rules.not_tested.seeds, len(protocol["seeds"]))
    reservations = [*_reservations(scope, rules, seeds), *found.reservations]
    if protocol["scaled"]:
        reservations += [*_too_small(scope, rules), *found.if_scaled]
    by_numbers = "" if found.holds is None else REPRODUCED if found.holds else NOT_REPRODUCED
    doubts = [doubt for doubt in dict.fromkeys(reservations) if doubt != found.because]
    return {
        "claim": claim,
        "figure": ", ".join(figures),
        "statement": found.statement,
        "dataset": scope.dataset,
        "data": scope.data,
        "model": scope.model,
        "batch_size": scope.batch_size,
        "seeds": len(scope.of(rules.optimizer)),
        "scaled": bool(protocol["scaled"]),
        "baseline": found.baseline,
        "statistic": found.statistic,
        "ratio": found.ratio.value,
        "ratio_low": found.ratio.low,
        "ratio_high": found.ratio.high,
        "rule": f"reproduced if {found.rule}; {reservations_of_all(rules, seeds)}",
        "verdict": NOT_TESTED if reservations else by_numbers,
        "by_numbers": by_numbers,
        "reason": _sentence(found.because) + (f" No test: {'; '.join(doubts)}." if doubts else ""),
        "sensitivity": "",
        **found.columns,
    }


def _absent(
    claim: str, figure: str, why: str, rule: str, protocol: dict[str, Any]
) -> dict[str, Any]:
    """The row of a claim about a figure of the paper that has no runs, or lacks some whose scope is not known."""
    return {
        "claim": claim,
        "figure": figure,
        "statement": ABSENT[claim].format(figure),
        "dataset": "",
        "data": "",
        "model": "",
        "batch_size": None,
        "seeds": None,
        "scaled": bool(protocol["scaled"]),
        "baseline": "",
        "statistic": "",
        "ratio": NO_RATIO.value,
        "ratio_low": NO_RATIO.low,
        "ratio_high": NO_RATIO.high,
        "rule": rule,
        "verdict": NOT_TESTED,
        "by_numbers": "",
        "reason": _sentence(why),
        "sensitivity": "",
    }


def _why_absent(figure: str, records: Records) -> str:
    name = records.protocol["name"]
    if figure in records.unplaced:
        return f"{records.unplaced[figure]} runs of Figure {figure} are still to be made: make reproduce PROTOCOL={name}"
    shown = any(figure in scope.figures for scope in records.scopes)
    return "" if shown else f"the protocol {name} does not have Figure {figure}"


def _reservations(scope: Scope, rules: Rules, seeds: int) -> list[str]:
    """Why the runs of a scope test no claim, at whatever scale."""
    found = []
    if not any(
        scope.data == name or scope.data.startswith((f"{name} ", f"{name},"))
        for name in rules.paper_data
    ):
        found.append("not on the paper's data")
    compared = scope.table[scope.table["optimizer"].isin([rules.optimizer, rules.baseline])]
    least = int(
        compared.groupby(["optimizer", "learning_rate"], dropna=False)["seed"].nunique().min()
    )
    if least < seeds:
        found.append(f"a curve has {least} of {seeds} seeds")
    if scope.missing:
        found.append(f"{scope.missing} runs are still to be made")
    return found


def _too_small(scope: Scope, rules: Rules) -> list[str]:
    """A reservation if no curve of the scope, by its mean, leaves the loss that it begins with."""
    falls = [
        sum(scope.runs[name].final_loss for name in table["run_id"])
        / sum(scope.runs[name].loss[0] for name in table["run_id"])
        for _, table in scope.table.groupby(["optimizer", "learning_rate"], dropna=False)
    ]
    if min(falls) < rules.not_tested.left_start:
        return []
    return [f"no optimizer leaves its start: the best ends at {min(falls):.2g} of its first loss"]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """With its numbers to DIGITS significant digits."""
    numbers = table.select_dtypes("float").columns
    return table.assign(
        **{name: table[name].map(lambda x: float(f"{x:.{DIGITS}g}")) for name in numbers}
    )
