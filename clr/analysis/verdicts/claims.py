"""The paper's claims: the statistic, the rule and the finding of each, in one scope."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from clr.analysis.names import display_name
from clr.analysis.ratios import number, ratio_over_seeds
from clr.analysis.verdicts.baselines import spread
from clr.analysis.verdicts.evidence import Run, Scope
from clr.analysis.verdicts.finding import Finding
from clr.analysis.verdicts.quicker import quicker
from clr.analysis.verdicts.rules import Rules
from clr.analysis.verdicts.statistics import (
    by_seed,
    extremes,
    first_losses,
    permutation_p_values,
)


def converges(scope: Scope, rules: Rules) -> Finding:
    """CLR's training loss falls to a small fraction of its initial value."""
    rule, runs = rules.converges, scope.select(rules.optimizer)
    ratio = ratio_over_seeds(
        by_seed(runs, "final_loss"), first_losses(runs), rules.interval.confidence
    )
    any_diverged = any(run.diverged for run in runs)
    holds = not any_diverged and ratio.upper_bound <= rule.fall
    still_falling = (
        not any_diverged and np.median([_last_fall(run) for run in runs]) <= rule.still_falling
    )
    return Finding(
        statement=f"{display_name(rules.optimizer)} converges without a hand-tuned learning rate "
        f"on {scope}",
        statistic="final training loss (mean over the last epoch) / initial loss",
        rule=f"no seed diverges and the upper end of the ratio's interval is at most {rule.fall:g}",
        not_tested_if="in a scaled-down protocol, the ratio is larger and the loss of the last "
        f"epoch is at most {rule.still_falling:g}× that of the epoch before",
        ratio=ratio,
        holds=holds,
        numbers=f"final training loss / initial loss: {ratio.text('diverged')}{_diverged(runs)}",
        scaled_reservations=(
            ["the loss still falls at the end of the budget"] if still_falling and not holds else []
        ),
        columns=spread("final_loss", [run.final_loss for run in runs])
        | spread("final_accuracy", [run.accuracy for run in runs]),
    )


def adapts(scope: Scope, rules: Rules) -> Finding:
    """CLR's learning rate has a trend over training, which a random order of it would not have."""
    rule, runs = rules.adapts, scope.select(rules.optimizer)
    pairs = {run.seed: extremes(run.rate, rule.windows) for run in runs}
    low = pd.Series({seed: smallest for seed, (smallest, _) in pairs.items()}, dtype=float)
    high = pd.Series({seed: largest for seed, (_, largest) in pairs.items()}, dtype=float)
    ratio = ratio_over_seeds(high, low, rules.interval.confidence)
    rates = [run.rate for run in runs]
    p_value = max(permutation_p_values(rates, rule.windows, rule.shuffles, rule.seed))
    any_diverged = any(run.diverged for run in runs)
    name = display_name(rules.optimizer)
    return Finding(
        statement=f"{name}'s learning rate adapts during training on {scope}",
        statistic="largest / smallest learning rate over training, as medians of "
        f"{rule.windows} equal windows; 1 for a fixed rate",
        rule="no seed diverges, and in each seed at most a fraction "
        f"{rule.chance:g} of random orders of its rates has a ratio at least as large "
        "(permutation test); the size of the ratio decides nothing",
        ratio=ratio,
        holds=not any_diverged and p_value <= rule.chance,
        numbers=f"permutation test: p ≤ {p_value:.2g} in every seed; the learning rate moves "
        f"between {low.median():.2g} and {high.median():.2g}, by a factor of "
        f"{ratio.text('infinity')}{_diverged(runs)}",
        columns={"chance": p_value},
    )


def cap(scope: Scope, rules: Rules) -> Finding:
    """CLR's learning rate reaches its cap on ImageNet, and stays below 10 without one elsewhere."""
    runs, name = scope.select(rules.optimizer), display_name(rules.optimizer)
    own_cap = scope.cap(rules.optimizer)
    limit = rules.cap.rate if own_cap is None else own_cap
    largest = pd.Series({run.seed: float(run.rate.max()) for run in runs}, dtype=float)
    if own_cap is None:
        holds = bool((largest < limit).all())
        statement = f"{name}'s learning rate stays below {limit:g} without a cap on {scope}"
        reservations = []
    else:
        holds = bool((largest >= limit).all())
        statement = f"{name}'s learning rate reaches its cap of {limit:g} on {scope}"
        reservations = [] if holds else ["the rate may reach the cap in longer training"]
    low, high = (number(value, "infinity") for value in (largest.min(), largest.max()))
    span = low if low == high else f"{low} to {high}"
    return Finding(
        statement=statement,
        statistic=f"largest learning rate over training / {limit:g}",
        rule="every seed reaches the cap if there is one, and otherwise no seed takes a learning "
        f"rate of {rules.cap.rate:g} or more",
        not_tested_if="in a scaled-down protocol, a seed does not reach its cap",
        ratio=ratio_over_seeds(
            largest, pd.Series(limit, index=largest.index), rules.interval.confidence
        ),
        holds=holds,
        numbers=f"largest learning rate over training: {span}",
        scaled_reservations=reservations,
        columns={"largest_rate": float(largest.max())},
    )


CLAIMS: dict[str, Callable[[Scope, Rules], Finding]] = {
    "converges": converges,
    "quicker": quicker,
    "adapts": adapts,
    "cap": cap,
}


def _diverged(runs: list[Run]) -> str:
    """Continuation of a sentence: how many seeds diverged, if any."""
    count = sum(run.diverged for run in runs)
    return f"; {count} of {len(runs)} seeds diverged" if count else ""


def _last_fall(run: Run) -> float:
    """Mean loss of the last epoch / that of the epoch before; 0 for a single epoch."""
    means = pd.Series(run.loss).groupby(run.epoch).mean()
    return float(means.iloc[-1] / means.iloc[-2]) if len(means) > 1 else 0.0
