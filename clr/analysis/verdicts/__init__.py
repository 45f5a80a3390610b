"""Verdicts on the paper's claims from one protocol's results, and agreement of two folders."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """Verdict on a claim; the values are what the tables store."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_TESTED = "not tested at this scale"

    @property
    def sign(self) -> str:
        """One character for matrices: ✓, ✗, or – if the runs do not test the claim."""
        return {"reproduced": "✓", "not reproduced": "✗"}.get(self.value, "–")
