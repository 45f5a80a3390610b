"""Position of a run: the numbers of completed epochs, steps and images."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Position:
    """Progress of a run after a step."""

    epoch: int = 0  # completed epochs
    batch: int = 0  # steps done in the current epoch
    step: int = 0  # steps done in all
    samples: int = 0  # images seen in all

    def after_step(self, batch_size: int) -> Position:
        """Return the position one step later."""
        return replace(
            self,
            batch=self.batch + 1,
            step=self.step + 1,
            samples=self.samples + batch_size,
        )

    def next_epoch(self) -> Position:
        """Return the position at the start of the next epoch."""
        return replace(self, epoch=self.epoch + 1, batch=0)
