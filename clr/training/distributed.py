"""The processes (ranks) that train one run together. Only this module starts torch.distributed."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from clr import slurm
from clr.errors import RankFailed, Stopped, UserError, first_line

T = TypeVar("T")
WATCH_SECONDS = 1.0  # between two checks for a rank that failed
_FAILURE_KEY = "failure"


class Ranks:
    """Communication of this process with the other ranks of the run.

    With one rank, nothing is sent and no method waits.

    Args:
        rank: number of this process among all.
        world_size: number of processes.
        local_rank: number of this process on its node, which is the number of its GPU.
        store: key-value store of all ranks, for configs and failures.
    """

    def __init__(
        self,
        rank: int = 0,
        world_size: int = 1,
        local_rank: int = 0,
        store: dist.Store | None = None,
    ) -> None:
        self.rank = rank
        self.world_size = world_size
        self.local_rank = local_rank
        self._store = store
        self._num_sent = 0
        self._finished = threading.Event()
        if store is not None:
            threading.Thread(
                target=self._exit_if_a_rank_fails,
                args=(store.clone(),),
                daemon=True,
                name="rank failures",
            ).start()

    def __reduce__(self) -> tuple[type[Ranks], tuple[()]]:
        # Launchers of Hydra, such as joblib's, send the task to processes of their own.
        if self._store is not None:
            raise TypeError("a rank of several cannot be sent to another process")
        return Ranks, ()

    @property
    def is_main(self) -> bool:
        """True on rank 0, which composes the config, prints and writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model with a backward pass that averages the gradients over the ranks."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(model, gradient_as_bucket_view=True)

    def no_sync(self, wrapped: nn.Module, when: bool) -> AbstractContextManager[None]:
        """Return a context in which, if `when` holds, gradients accumulate and are not sent."""
        if when and isinstance(wrapped, DistributedDataParallel):
            return wrapped.no_sync()
        return nullcontext()

    def mean(self, numbers: Tensor) -> Tensor:
        """Average over the ranks, in place, on the device or on the host."""
        if self.world_size > 1:
            dist.all_reduce(numbers)
            numbers /= self.world_size
        return numbers

    def sum(self, numbers: Tensor) -> Tensor:
        """Sum over the ranks, in place, on the device or on the host."""
        if self.world_size > 1:
            dist.all_reduce(numbers)
        return numbers

    def any_rank(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is set on any rank, so that all ranks branch alike.

        The flags are sent between the hosts, so the host does not wait for its device. If another
        rank has died, this raises at once.
        """
        if self.world_size == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return tuple(bool(vote) for vote in votes)

    def broadcast(self, compute: Callable[[], T]) -> T:
        """Call `compute` on rank 0 and return its result on all ranks."""
        if self.world_size == 1:
            return compute()
        results = [compute() if self.is_main else None]
        dist.broadcast_object_list(results, device=torch.device("cpu"))
        return cast(T, results[0])

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Copy the model's buffers, such as batch norm's running statistics, from rank 0."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def require_equal(self, named_tensors: Iterable[tuple[str, Tensor]], when: str) -> None:
        """Compare a checksum of each tensor over the ranks. The host waits for the device.

        Args:
            named_tensors: the same names and shapes on all ranks.
            when: the moment, for the error message.

        Raises:
            UserError: on all ranks, if any tensor differs by at least one bit.
        """
        if self.world_size == 1:
            return
        names, tensors = zip(*named_tensors, strict=True)
        sums = torch.stack([_checksum(tensor) for tensor in tensors])
        extremes = torch.stack([sums, -sums])
        dist.all_reduce(extremes, op=dist.ReduceOp.MAX)
        differs = (extremes[0] != -extremes[1]).tolist()
        if any(differs):
            raise UserError(
                f"the ranks have different parameters {when}: {names[differs.index(True)]}; "
                "the optimizer must take the same step on every rank, from averaged gradients and "
                "losses, without random numbers, and on equal hardware"
            )

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in order, on rank 0; an empty list on the others."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.gather_object(value, values if self.is_main else None)
        return values if self.is_main else []

    def send(self, text: str) -> None:
        """Send `text` to all ranks that call `receive`."""
        if self._store is not None:
            self._store.set(f"text {self._num_sent}", text)
            self._num_sent += 1

    def receive(self) -> Iterator[str]:
        """Yield what rank 0 sends until it sends an empty text.

        Waits for up to 30 days, because rank 0 may be converting ImageNet.
        """
        assert self._store is not None
        for number in count():
            self._store.wait([f"text {number}"], timedelta(days=30))
            if not (text := self._store.get(f"text {number}").decode()):
                return
            yield text

    def finish(self) -> None:
        """Stop watching the other ranks, which may now exit in any order."""
        self._finished.set()

    @contextmanager
    def propagate_errors(self) -> Iterator[None]:
        """End all ranks within seconds if one raises, even when blocked in a collective."""
        try:
            yield
        except Stopped:
            self._finished.set()
            raise
        except Exception as error:
            self._finished.set()
            if self._store is None:
                raise
            if _is_lost_peer(error):
                reported = self._failure(self._store)
                raise RankFailed(
                    reported or f"another rank is gone: {first_line(error)}"
                ) from error
            self._store.set(_FAILURE_KEY, f"rank {self.rank} failed: {first_line(error)}")
            if self.is_main:
                # The store may be in this process, and the others have yet to read from it.
                time.sleep(3 * WATCH_SECONDS)
            raise

    def _exit_if_a_rank_fails(self, store: dist.Store) -> None:
        """Poll for a failure; exit, because no exception reaches a thread inside a collective."""
        while not self._finished.wait(WATCH_SECONDS):
            if (failure := self._failure(store)) and not self._finished.is_set():
                print(f"{Path(sys.argv[0]).name}: {failure}", file=sys.stderr, flush=True)
                os._exit(1)

    @staticmethod
    def _failure(store: dist.Store) -> str | None:
        """Return the error that a rank has reported."""
        try:
            return store.get(_FAILURE_KEY).decode() if store.check([_FAILURE_KEY]) else None
        except RuntimeError:
            # The store was in a process that is gone; the next collective will raise.
            return None


@dataclass(frozen=True)
class BatchDivision:
    """Division of a global batch among ranks and, on each, among micro-batches of equal size."""

    ranks: int
    grad_accum_steps: int  # micro-batches per step, on each rank
    micro_batch_size: int  # images


def divide(batch_size: int, ranks: int, device_batch_size: int | None) -> BatchDivision:
    """Divide a global batch among ranks, each with the fewest micro-batches that fit its device.

    Args:
        device_batch_size: most images in a micro-batch; None for any number.

    Raises:
        UserError: if the batch cannot be divided into equal micro-batches of at least two images.
    """
    share, rest = divmod(batch_size, ranks)
    if rest:
        raise UserError(
            f"batch_size={batch_size} cannot be shared evenly by {ranks} ranks; "
            f"use a multiple of {ranks}"
        )
    largest = device_batch_size or share
    for grad_accum_steps in range(1, share):
        micro_batch_size, rest = divmod(share, grad_accum_steps)
        if not rest and micro_batch_size <= largest:
            return BatchDivision(ranks, grad_accum_steps, micro_batch_size)
    raise UserError(
        f"batch_size={batch_size} gives each of {ranks} ranks {share} images, which cannot be cut "
        f"into equal parts of 2 to {largest}; use another batch_size or device_batch_size"
    )


@contextmanager
def join() -> Iterator[Ranks]:
    """Join the ranks of this run: torchrun's, those of a SLURM step, or this process alone.

    Errors inside the block end all ranks; see `Ranks.propagate_errors`.
    """
    slurm.enter_step()
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Ranks()
        return
    store, rank, world_size = next(dist.rendezvous("env://", timeout=timedelta(minutes=5)))
    # torchrun --max-restarts keeps the store: without a prefix of its own, an attempt would find
    # the failure, the configs and the addresses of the attempt before it.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"attempt {attempt}", store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    ranks = Ranks(rank, world_size, int(os.environ.get("LOCAL_RANK", 0)), store)
    with ranks.propagate_errors():
        yield ranks
        dist.barrier()  # rank 0 keeps the store until all have read from it
        ranks.finish()
        dist.destroy_process_group()


def _checksum(tensor: Tensor) -> Tensor:
    """Return the wrapping sum of the tensor's elements, read as integers: 0-dim int64."""
    integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().view(integers[tensor.element_size()]).sum(dtype=torch.int64)


def _is_lost_peer(error: Exception) -> bool:
    """Return whether a collective raised this because a peer is gone; gloo has no type for it."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "by peer" in str(error)
    )
