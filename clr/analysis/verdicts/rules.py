"""Schema of configs/claims.yaml, and when each of its rules was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from clr.analysis.race import equal_fractions
from clr.config import CONFIGS
from clr.errors import UserError, first_line

# Claims whose verdict depends on the interval of the ratio.
INTERVAL_DECIDES = ("converges", "quicker")


@dataclass
class Seen:
    """Results of a protocol that the author had seen."""

    first: str = MISSING  # date or time at which the author first saw any of them
    extent: str = ""  # what was seen, if not the whole protocol


@dataclass
class Dated:
    """A part of the rules."""

    written: str = MISSING  # date, or time in UTC


@dataclass
class Interval(Dated):
    confidence: float = MISSING


@dataclass
class NotTested(Dated):
    seeds: int = MISSING
    left_start: float = MISSING


@dataclass
class Converges(Dated):
    figures: list[str] = MISSING
    fall: float = MISSING
    still_falling: float = MISSING


@dataclass
class Quicker(Dated):
    figures: list[str] = MISSING
    targets: int = MISSING
    headline: float = MISSING


@dataclass
class Adapts(Dated):
    figures: list[str] = MISSING
    windows: int = MISSING
    shuffles: int = MISSING
    seed: int = MISSING
    chance: float = MISSING


@dataclass
class Cap(Dated):
    figures: list[str] = MISSING
    rate: float = MISSING


@dataclass
class Agreement(Dated):
    windows: int = MISSING
    chance: float = MISSING
    share: float = MISSING


@dataclass
class Rules:
    """The keys of configs/claims.yaml, where each is explained."""

    seen: dict[str, Seen] = MISSING  # by protocol; the others have no runs yet
    optimizer: str = MISSING
    baseline: str = MISSING
    paper_data: list[str] = MISSING
    window_epochs: float = MISSING
    interval: Interval = field(default_factory=Interval)
    not_tested: NotTested = field(default_factory=NotTested)
    converges: Converges = field(default_factory=Converges)
    quicker: Quicker = field(default_factory=Quicker)
    adapts: Adapts = field(default_factory=Adapts)
    cap: Cap = field(default_factory=Cap)
    agreement: Agreement = field(default_factory=Agreement)


def load(path: Path = CONFIGS / "claims.yaml") -> Rules:
    """Read the rules; UserError names a key that is unknown, missing or of the wrong type."""
    try:
        schema = OmegaConf.structured(Rules)
        rules = OmegaConf.to_object(OmegaConf.merge(schema, OmegaConf.load(path)))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {first_line(error)}") from None
    assert isinstance(rules, Rules)
    _check(rules, path)
    return rules


def _check(rules: Rules, path: Path) -> None:
    quicker = rules.quicker
    if quicker.headline not in equal_fractions(quicker.targets):
        raise UserError(
            f"{path}: quicker.headline={quicker.headline} is not a multiple of 1/{quicker.targets} "
            "up to 1; change quicker.headline or quicker.targets"
        )
    dated: list[Dated] = [rules.interval, rules.not_tested, rules.converges, quicker]
    dated += [rules.adapts, rules.cap, rules.agreement]
    days = [part.written for part in dated] + [seen.first for seen in rules.seen.values()]
    for day in days:
        try:
            datetime.fromisoformat(day)
        except ValueError:
            raise UserError(
                f"{path}: {day!r} is not a date; write it as 2026-01-31 or 2026-01-31 23:59"
            ) from None


def provenance_line(claim: str, protocol: str, rules: Rules) -> str:
    """Clause on when the rule of a claim was written: before or after results were seen.

    A claim whose verdict depends on the interval of its ratio gives the date of the interval as
    well.

    Args:
        claim: name of a claim, such as "quicker".
        protocol: name of a protocol, such as "quick".
        rules: the rules of configs/claims.yaml.
    """
    rule, interval = getattr(rules, claim).written, ""
    if claim in INTERVAL_DECIDES and rules.interval.written != rule:
        interval = rules.interval.written
    if protocol not in rules.seen:
        both = f"{rule}, its interval on {interval}" if interval else rule
        return f"written on {both}, before any run of the protocol {protocol}"
    seen = rules.seen[protocol]
    extent = f", {seen.extent}" if seen.extent else ""
    line = (
        f"written on {rule}, {_order(rule, seen.first)} the author first saw results of the "
        f"protocol {protocol} ({seen.first}{extent})"
    )
    if interval:
        line += f"; its interval was written on {interval}, {_order(interval, seen.first)} that"
    return line


def _order(written: str, seen: str) -> str:
    """Return "before" or "after"; "after" for one day if one of the two has no time."""
    times = datetime.fromisoformat(written), datetime.fromisoformat(seen)
    if min(len(written), len(seen)) == len("2026-01-31"):
        return "before" if times[0].date() < times[1].date() else "after"
    return "before" if times[0] < times[1] else "after"
