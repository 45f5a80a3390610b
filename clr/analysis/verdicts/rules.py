"""Schema of configs/claims.yaml, and the statement of when its rules were written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from clr.config import CONFIGS
from clr.errors import UserError, first_line


@dataclass
class Written:
    """Date of the rules, and the protocols whose results the author had seen by then."""

    date: str = MISSING
    after: dict[str, str] = MISSING  # protocol: date of its first committed results
    before: list[str] = MISSING  # protocols without any run by then


@dataclass
class Bootstrap:
    resamples: int = MISSING
    confidence: float = MISSING
    seed: int = MISSING


@dataclass
class NotTested:
    seeds: int = MISSING
    left_start: float = MISSING


@dataclass
class Converges:
    figures: list[str] = MISSING
    fall: float = MISSING
    still_falling: float = MISSING


@dataclass
class Quicker:
    figures: list[str] = MISSING
    targets: list[float] = MISSING
    headline: float = MISSING


@dataclass
class Adapts:
    figures: list[str] = MISSING
    windows: int = MISSING
    factor: float = MISSING
    shuffles: int = MISSING
    chance: float = MISSING


@dataclass
class Cap:
    figures: list[str] = MISSING
    rate: float = MISSING


@dataclass
class Agreement:
    windows: int = MISSING
    chance: float = MISSING
    share: float = MISSING


@dataclass
class Rules:
    """The keys of configs/claims.yaml, where each is explained."""

    written: Written = field(default_factory=Written)
    optimizer: str = MISSING
    baseline: str = MISSING
    paper_data: list[str] = MISSING
    window_epochs: float = MISSING
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
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
    if rules.quicker.headline not in rules.quicker.targets:
        raise UserError(
            f"{path}: quicker.headline={rules.quicker.headline} is not one of quicker.targets; "
            "add it there"
        )
    for day in (rules.written.date, *rules.written.after.values()):
        try:
            date.fromisoformat(day)
        except ValueError:
            raise UserError(
                f"{path}: {day!r} below `written` is not a date; write it as 2026-01-31"
            ) from None
    return rules


def provenance_line(protocol: str, rules: Rules | None = None) -> str:
    """Sentence on whether the rules were written before or after the results of `protocol`.

    Args:
        protocol: name of a protocol, such as "quick".
        rules: the rules, read from configs/claims.yaml by default.
    """
    written = (rules or load()).written
    if protocol in written.after:
        first = written.after[protocol]
        return (
            f"The rules were written on {written.date}, after the author had seen results of the "
            f"protocol {protocol} (first committed on {first}): they were not fixed in advance."
        )
    if protocol in written.before:
        return (
            f"The rules were written on {written.date}, before any run of the protocol {protocol}."
        )
    return (
        f"The rules were written on {written.date}, after the author had seen results of "
        f"{_listed(list(written.after))}, and before any run of {_listed(written.before)}."
    )


def _listed(names: list[str]) -> str:
    """Names as in "a, b and c"."""
    if not names:
        return "no protocol"
    first, last = ", ".join(names[:-1]), names[-1]
    return f"{first} and {last}" if first else last
