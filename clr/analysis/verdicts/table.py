"""Tables of the verdicts: every claim in every scope, and claims about figures without runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from clr.analysis.figures.availability import figures_of_protocols
from clr.analysis.names import figure_name
from clr.analysis.ratios import NO_RATIO
from clr.analysis.verdicts import Verdict
from clr.analysis.verdicts.baselines import curve_table, scope_columns
from clr.analysis.verdicts.claims import CLAIMS
from clr.analysis.verdicts.evidence import Records, Scope
from clr.analysis.verdicts.finding import Finding
from clr.analysis.verdicts.quicker import target_table
from clr.analysis.verdicts.rules import Rules, provenance_line
from clr.errors import UserError, first_line

# Statement of each claim about a figure without runs, whose scopes are unknown.
STATEMENTS = {
    "converges": "CLR converges",
    "quicker": "CLR is faster than the best fixed rate",
    "adapts": "CLR's learning rate adapts during training",
    "cap": "CLR's learning rate reaches its cap on ImageNet only",
}
# Significant digits of the numbers in the tables: insensitive to the order of summation, which
# depends on the processor.
DIGITS = 6


def judge(records: Records, rules: Rules) -> dict[str, pd.DataFrame]:
    """Tables `claims`, `targets` and `curves`; results/DICTIONARY.md describes their columns."""
    rows: list[dict[str, Any]] = []
    for claim in CLAIMS:
        rows += _tested(claim, records, rules)
        rows += _without_runs(claim, records, rules, rows)
    scopes = records.scopes
    targets = [target_table(scope, rules) for scope in scopes]
    tables = {
        "claims": pd.DataFrame(rows).astype({"batch_size": "Int64", "seeds": "Int64"}),
        "targets": pd.concat(targets, ignore_index=True),
        "curves": pd.concat(
            [curve_table(scope, records.corridor_meter) for scope in scopes], ignore_index=True
        ),
    }
    return {name: rounded(table) for name, table in tables.items()}


def read_claims(folder: Path) -> pd.DataFrame:
    """Read the table `claims` of a results folder, all columns as text.

    Raises:
        UserError: if it is missing or damaged, or has an unknown verdict.
    """
    path = folder / "claims.csv"
    command = f"make claims PROTOCOL={folder.resolve().name}"
    try:
        claims = pd.read_csv(path, dtype=str, keep_default_na=False)
        unknown = set(claims["verdict"]) - set(Verdict)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; create it with: {command}") from None
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read ({first_line(error)}); create it again with: {command}"
        ) from None
    if unknown:
        raise UserError(
            f"{path} has the verdict {min(unknown)!r}, which is not one of: {', '.join(Verdict)}; "
            f"create it again with: {command}"
        )
    return claims


def _tested(claim: str, records: Records, rules: Rules) -> list[dict[str, Any]]:
    """Rows of a claim: one for each scope with runs of CLR that a figure of the claim shows."""
    rows = []
    for scope in records.scopes:
        figures = [name for name in scope.figures if name in getattr(rules, claim).figures]
        if figures and scope.select(rules.optimizer):
            finding = CLAIMS[claim](scope, rules)
            row = {"claim": claim, "figure": ", ".join(figures)}
            rows.append(row | _row(claim, scope, finding, records.protocol, rules))
    return rows


def _row(
    claim: str, scope: Scope, finding: Finding, protocol: dict[str, Any], rules: Rules
) -> dict[str, Any]:
    seeds = max(rules.not_tested.seeds, len(protocol["seeds"]))
    reservations = [*_reservations(scope, rules, seeds), *finding.reservations]
    if protocol["scaled"]:
        reservations += [*_no_progress(scope, rules), *finding.scaled_reservations]
    by_numbers = ""
    if finding.holds is not None:
        by_numbers = str(Verdict.REPRODUCED if finding.holds else Verdict.NOT_REPRODUCED)
    reason = _sentence(finding.numbers)
    further = [text for text in dict.fromkeys(reservations) if text != finding.numbers]
    if further:
        reason += f" Not a test of the claim: {'; '.join(further)}."
    return {
        "statement": finding.statement,
        **scope_columns(scope),
        "seeds": len(scope.select(rules.optimizer)),
        "scaled": bool(protocol["scaled"]),
        "baseline": finding.baseline,
        "statistic": finding.statistic,
        "ratio": finding.ratio.value,
        "ratio_low": finding.ratio.low,
        "ratio_high": finding.ratio.high,
        "rule": _rule(finding, rules, seeds),
        "rule_written": provenance_line(claim, protocol["name"], rules),
        "verdict": str(Verdict.NOT_TESTED) if reservations else by_numbers,
        "by_numbers": by_numbers,
        "reason": reason,
        "sensitivity": "",
        **finding.columns,
    }


def _without_runs(
    claim: str, records: Records, rules: Rules, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of a claim about figures without runs, or with missing runs of unknown scope."""
    rule = next((row["rule"] for row in rows if row["claim"] == claim), "")
    return [
        {
            "claim": claim,
            "figure": figure,
            "statement": f"{STATEMENTS[claim]} in {figure_name(figure)}",
            "dataset": "",
            "data": "",
            "model": "",
            "batch_size": None,
            "setting": "",
            "seeds": None,
            "scaled": bool(records.protocol["scaled"]),
            "baseline": "",
            "statistic": "",
            "ratio": NO_RATIO.value,
            "ratio_low": NO_RATIO.low,
            "ratio_high": NO_RATIO.high,
            "rule": rule,
            "rule_written": provenance_line(claim, records.protocol["name"], rules),
            "verdict": str(Verdict.NOT_TESTED),
            "by_numbers": "",
            "reason": _sentence(reason),
            "sensitivity": "",
        }
        for figure in getattr(rules, claim).figures
        if (reason := _reason_without_runs(figure, records))
    ]


def _reason_without_runs(figure: str, records: Records) -> str:
    """Reason why a figure has no runs; empty if it has some."""
    protocol = records.protocol["name"]
    if figure in records.unplaced:
        return (
            f"{records.unplaced[figure]} runs of {figure_name(figure)} are missing; "
            f"train them with: make reproduce PROTOCOL={protocol}"
        )
    if any(figure in scope.figures for scope in records.scopes):
        return ""
    if not figure.isdigit():  # not in the paper: other protocols do not lack it
        return ""
    if figure in figures_of_protocols().get(protocol, []):
        return f"{figure_name(figure)} has no runs in these results"
    return f"the protocol {protocol} does not include {figure_name(figure)}"


def _rule(finding: Finding, rules: Rules, seeds: int) -> str:
    """Rule of a claim with all conditions under which runs are not a test of it."""
    not_tested_if = [
        f"the data is not {' or '.join(rules.paper_data)}",
        f"a curve has fewer than {seeds} seeds",
        "runs are missing",
        "in a scaled-down protocol, no optimizer brings the final loss below "
        f"{rules.not_tested.left_start:g}× the initial loss",
        *filter(None, [finding.not_tested_if]),
    ]
    return f"reproduced if {finding.rule}; not tested if: {'; '.join(not_tested_if)}"


def _reservations(scope: Scope, rules: Rules, seeds: int) -> list[str]:
    """Reasons why the runs of a scope test no claim, in a protocol of any scale."""
    reservations = []
    if not any(_is_data(scope.data, name) for name in rules.paper_data):
        reservations.append("the data is not the paper's")
    compared = scope.table[scope.table["optimizer"].isin([rules.optimizer, rules.baseline])]
    curves = compared.groupby(["optimizer", "learning_rate"], dropna=False)
    fewest = int(curves["seed"].nunique().min())
    if fewest < seeds:
        reservations.append(f"a curve has {fewest} of {seeds} seeds")
    if scope.missing:
        reservations.append(f"{scope.missing} runs are missing")
    return reservations


def _is_data(label: str, name: str) -> bool:
    """Return whether a label such as "CIFAR-10 (JPEG copy), 5,000 images" is of dataset `name`."""
    return label == name or label.startswith((f"{name} ", f"{name},"))


def _no_progress(scope: Scope, rules: Rules) -> list[str]:
    """A reservation if the mean final loss of every curve is close to the initial loss or above."""
    fractions = []
    for runs in scope.curves().values():
        fraction = sum(run.final_loss for run in runs) / sum(float(run.loss[0]) for run in runs)
        if math.isfinite(fraction):
            fractions.append(fraction)
    if not fractions:
        return ["every curve has a diverged run"]
    if min(fractions) < rules.not_tested.left_start:
        return []
    best = f"{min(fractions):#.2g}".rstrip(".")
    return [f"no optimizer made progress: the best final loss is {best}× the initial loss"]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers rounded to DIGITS significant digits."""
    numbers = table.select_dtypes("float").columns
    return table.assign(
        **{name: table[name].map(lambda value: float(f"{value:.{DIGITS}g}")) for name in numbers}
    )
