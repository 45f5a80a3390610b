"""The schema of configs/claims.yaml, where each key's meaning stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clr.config import CONFIGS
from clr.errors import UserError


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
    spread: float = MISSING
    share: float = MISSING


@dataclass
class Rules:
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
    """The rules in `path`; UserError names a key that is unknown, missing or of another type."""
    try:
        rules = OmegaConf.to_object(
            OmegaConf.merge(OmegaConf.structured(Rules), OmegaConf.load(path))
        )
    except (OSError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}") from None
    assert isinstance(rules, Rules)
    if rules.quicker.headline not in rules.quicker.targets:
        raise UserError(
            f"{path}: quicker.headline={rules.quicker.headline} is none of quicker.targets"
        )
    return rules
