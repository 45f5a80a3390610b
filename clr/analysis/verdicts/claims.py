"""The paper's claims, each held against the runs of one scope: the statistic, the rule, and what the numbers say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from clr.analysis.verdicts.baselines import spread
from clr.analysis.verdicts.evidence import Run, Scope
from clr.analysis.verdicts.finding import Finding, first_losses, least, most, named, where
from clr.analysis.verdicts.quicker import quicker
from clr.analysis.verdicts.rules import Rules
from clr.analysis.verdicts.statistics import by_seed, chance_of_moving, extremes, ratio_over_seeds


def converges(scope: Scope, rules: Rules) -> Finding:
    """The training loss falls, with no rate chosen by hand, to a small part of what it was."""
    rule, runs = rules.converges, scope.of(rules.optimizer)
    ratio = ratio_over_seeds(by_seed(runs, "final_loss"), first_losses(runs), rules.bootstrap)
    diverged = sum(run.diverged for run in runs)
    holds = diverged == 0 and most(ratio) <= rule.fall
    falling = diverged == 0 and np.median([_last_fall(run) for run in runs]) <= rule.still_falling
    return Finding(
        f"{named(rules.optimizer)} converges on {where(scope)}, with no learning rate chosen by hand",
        "final training loss (mean of the last epoch) / loss of the first step",
        f"no seed diverges and the ratio, by its upper end, is at most {rule.fall:g}; scaled down, no test if it is "
        f"more and the last epoch's loss is at most {rule.still_falling:g} of the one before",
        ratio,
        holds,
        f"the training loss ends at {ratio} of its first value"
        + (f", {diverged} seeds diverge" if diverged else ""),
        if_scaled=["the budget ends while the loss still falls"] if falling and not holds else [],
        columns=spread("final_loss", [run.final_loss for run in runs])
        | spread("final_accuracy", [run.accuracy for run in runs]),
    )


def adapts(scope: Scope, rules: Rules) -> Finding:
    """The rate moves by itself over training; a fixed one has a ratio of 1."""
    rule, runs = rules.adapts, scope.of(rules.optimizer)
    ends = {run.seed: extremes(run.rate, rule.windows) for run in runs}
    low, high = (
        pd.Series({seed: pair[i] for seed, pair in ends.items()}, dtype=float) for i in (0, 1)
    )
    ratio = ratio_over_seeds(high, low, rules.bootstrap)
    chances = [
        chance_of_moving(run.rate, rule.windows, rule.shuffles, rules.bootstrap.seed)
        for run in runs
    ]
    diverged = sum(run.diverged for run in runs)
    return Finding(
        f"{named(rules.optimizer)}'s rate adapts to training on {where(scope)}",
        f"largest / smallest learning rate over training, of the medians of {rule.windows} equal parts; 1 if fixed",
        f"no seed diverges, the ratio, by its lower end, is at least {rule.factor:g}, and of random orders of "
        f"each seed's rates at most {rule.chance:g} move as much",
        ratio,
        diverged == 0 and least(ratio) >= rule.factor and max(chances) <= rule.chance,
        f"the rate moves between {low.median():.2g} and {high.median():.2g}, by a factor of {ratio}; of random "
        f"orders of the same rates up to {max(chances):.2g} move as much",
        columns={"chance": max(chances)},
    )


def cap(scope: Scope, rules: Rules) -> Finding:
    """On ImageNet, where it is capped, the rate meets the cap of 10; elsewhere it stays below that by itself."""
    runs, name = scope.of(rules.optimizer), named(rules.optimizer)
    limit = rules.cap.rate if scope.cap is None else scope.cap
    largest = pd.Series({run.seed: float(run.rate.max()) for run in runs}, dtype=float)
    ratio = ratio_over_seeds(largest, pd.Series(limit, index=largest.index), rules.bootstrap)
    later = []
    if scope.cap is not None:
        holds = bool((largest >= limit).all())
        statement = f"{name}'s rate meets the cap of {limit:g} on {where(scope)}"
        later = [] if holds else ["the rate may meet it in a longer training"]
    else:
        holds = bool((largest < limit).all())
        statement = f"{name}'s rate stays below {limit:g} without a cap on {where(scope)}"
    rule = (
        "where the rate is capped every seed meets the cap (scaled down, no test if one does not: it may later), and "
        f"elsewhere no seed takes a rate of {rules.cap.rate:g} or more"
    )
    because = f"the largest rate is {largest.min():.2g} to {largest.max():.2g}"
    columns = {"largest_rate": float(largest.max())}
    return Finding(
        statement,
        f"largest rate / {limit:g}",
        rule,
        ratio,
        holds,
        because,
        if_scaled=later,
        columns=columns,
    )


CLAIMS: dict[str, Callable[[Scope, Rules], Finding]] = {
    "converges": converges,
    "quicker": quicker,
    "adapts": adapts,
    "cap": cap,
}


def _last_fall(run: Run) -> float:
    """The mean loss of the last epoch over that of the one before; 0 where there is no other."""
    means = pd.Series(run.loss).groupby(run.epoch).mean()
    return float(means.iloc[-1] / means.iloc[-2]) if len(means) > 1 else 0.0
