"""State of a run that its checkpoints hold, complete enough to resume it bit for bit."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from clr.errors import UserError, first_line
from clr.training.checkpoint import Checkpoints
from clr.training.distributed import Ranks
from clr.training.position import Position
from clr.training.recorder import Recorder


@dataclass(frozen=True)
class RunState:
    """Model, optimizer, random generators, position in the data and length of the records."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    recorder: Recorder
    checkpoints: Checkpoints
    ranks: Ranks

    def save(self, position: Position) -> None:
        """Write the records, then a checkpoint. All ranks call this, rank 0 writes.

        Rank 0's batch-norm statistics are saved. All ranks resume with them.
        """
        generators = self.ranks.gather(_generator_states())
        if not self.ranks.is_main:
            return
        self.recorder.save()
        content = {
            "position": asdict(position),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": generators,
            "records": self.recorder.length(),
        }
        self.checkpoints.save(position.step, content)

    def restore(self) -> Position:
        """Restore all ranks from the newest checkpoint, if there is one; return the position.

        Raises:
            UserError: if it was not written by a run with this model and optimizer.
        """
        saved = self.ranks.broadcast(self.checkpoints.newest)
        if saved is None:
            return Position()
        try:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            generators = saved["generators"]
            position = Position(**saved["position"])
            self.recorder.restore(saved["records"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(
                f"the newest checkpoint in {self.checkpoints.folder} does not fit this run "
                f"({first_line(error)}); delete it to resume from the one before it"
            ) from error
        # With more ranks than before, the additional ones keep their initial generators.
        if self.ranks.rank < len(generators):
            _set_generator_states(generators[self.ranks.rank])
        return position


def _generator_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_generator_states(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
