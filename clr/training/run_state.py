"""All that a run must remember to go on bit for bit after it was killed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from clr.training.checkpoint import Checkpoints
from clr.training.distributed import Ranks
from clr.training.recorder import Recorder


@dataclass
class Position:
    """How far a run has come: `batch` steps of epoch `epoch` are done, `step` and `samples` in all."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    samples: int = 0

    def advance(self, images: int) -> None:
        self.batch, self.step, self.samples = self.batch + 1, self.step + 1, self.samples + images

    def next_epoch(self) -> None:
        self.epoch, self.batch = self.epoch + 1, 0


class RunState:
    """Model, optimizer, random generators, position in the data and length of the records, saved and restored."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recorder: Recorder,
        checkpoints: Checkpoints,
        ranks: Ranks,
    ) -> None:
        self._model, self._optimizer, self._recorder = model, optimizer, recorder
        self._checkpoints, self._ranks = checkpoints, ranks

    def save(self, at: Position) -> None:
        """To be called by all ranks; rank 0 writes: the records first, so that no checkpoint is ahead of them."""
        generators = self._ranks.gather(_generators())
        if self._ranks.is_main:
            self._recorder.save()
            content = {
                "position": asdict(at),
                "model": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "generators": generators,
                "records": self._recorder.length(),
            }
            self._checkpoints.save(at.step, content)

    def restore(self) -> Position:
        """Where the newest checkpoint stood, with all put back as it was then; the beginning if there is none."""
        saved = self._ranks.broadcast(self._checkpoints.newest)
        if saved is None:
            return Position()
        self._model.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._recorder.restore(saved["records"])
        if self._ranks.rank < len(
            saved["generators"]
        ):  # a run may go on with other ranks than it began with
            _set_generators(saved["generators"][self._ranks.rank])
        return Position(**saved["position"])


def _generators() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_generators(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
