"""The processes that train one run together, each on its device: the only module that starts torch.distributed."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from clr import slurm
from clr.errors import RankFailed, Stopped, UserError

T = TypeVar("T")
WATCH_SECONDS = 1.0  # between two looks for a rank that failed


class Ranks:
    """This process's place among `world` ranks. With one rank nothing is sent and nothing waits."""

    def __init__(
        self, rank: int = 0, world: int = 1, local: int = 0, store: dist.Store | None = None
    ) -> None:
        self.rank = rank
        self.world_size = world
        self.local_rank = local  # among the ranks of this node: the number of the GPU it takes
        self._store = store
        self._sent = 0
        self._over = threading.Event()
        if store is not None:
            threading.Thread(
                target=self._watch, args=(store.clone(),), daemon=True, name="watch over ranks"
            ).start()

    @property
    def is_main(self) -> bool:
        """Rank 0 composes, prints and writes; the others only compute."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward pass averages the gradients over the ranks."""
        return (
            DistributedDataParallel(model, gradient_as_bucket_view=True)
            if self.world_size > 1
            else model
        )

    def no_sync(self, wrapped: nn.Module, when: bool) -> AbstractContextManager[None]:
        """While active and `when` holds, a backward pass sums up gradients on this rank and sends none."""
        return (
            wrapped.no_sync()
            if when and isinstance(wrapped, DistributedDataParallel)
            else nullcontext()
        )

    def mean(self, numbers: Tensor) -> Tensor:
        """Averaged over the ranks, in place; on the device or on the host."""
        if self.world_size > 1:
            dist.all_reduce(numbers)
            numbers /= self.world_size
        return numbers

    def sum(self, numbers: Tensor) -> Tensor:
        """Summed over the ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(numbers)
        return numbers

    def any_rank(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether it is set on any rank, so that all take the same turn at the same step.

        It goes over the hosts' network, not over the GPUs', and so does not wait for the device. A rank that has died
        makes it raise at once: no rank is left waiting.
        """
        if self.world_size == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return tuple(bool(vote) for vote in votes)

    def broadcast(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, on all ranks."""
        if self.world_size == 1:
            return make()
        made = [make() if self.is_main else None]
        dist.broadcast_object_list(made, device=torch.device("cpu"))
        return cast(T, made[0])

    def gather(self, mine: T) -> list[T]:
        """What each rank has, by rank, on rank 0; elsewhere an empty list."""
        if self.world_size == 1:
            return [mine]
        everyone: list[Any] = [None] * self.world_size
        dist.gather_object(mine, everyone if self.is_main else None)
        return everyone if self.is_main else []

    def send(self, text: str) -> None:
        """Give `text` to all ranks that `receive`."""
        if self._store is not None:
            self._store.set(f"text {self._sent}", text)
            self._sent += 1

    def receive(self) -> Iterator[str]:
        """What rank 0 sends, until it sends an empty text, however long it takes: it may be converting ImageNet."""
        assert self._store is not None
        for number in count():
            self._store.wait([f"text {number}"], timedelta(days=30))
            if not (text := self._store.get(f"text {number}").decode()):
                return
            yield text

    def finish(self) -> None:
        """The ranks part in peace."""
        self._over.set()

    @contextmanager
    def propagate_errors(self) -> Iterator[None]:
        """An error of any rank in here ends all within seconds, with its message, whatever they are waiting for."""
        try:
            yield
        except Stopped:
            self._over.set()
            raise
        except Exception as error:
            self._over.set()
            if self._store is None:
                raise
            if _lost_peer(error):
                raise RankFailed(
                    self._failure(self._store) or f"another rank is gone: {_gist(error)}"
                ) from error
            self._store.set("failure", f"rank {self.rank} failed: {_gist(error)}")
            if self.is_main:
                time.sleep(
                    3 * WATCH_SECONDS
                )  # the store may live in this process, and the others have to read it
            raise

    def _watch(self, store: dist.Store) -> None:
        """Ends this process when another rank fails: it may wait in a collective, which no exception reaches."""
        while not self._over.wait(WATCH_SECONDS):
            if (told := self._failure(store)) and not self._over.is_set():
                print(f"{Path(sys.argv[0]).name}: {told}", file=sys.stderr, flush=True)
                os._exit(1)

    @staticmethod
    def _failure(store: dist.Store) -> str | None:
        """What a rank that failed has told."""
        try:
            return store.get("failure").decode() if store.check(["failure"]) else None
        except (
            RuntimeError
        ):  # the store lived in the process that is gone: the next collective will raise
            return None


def divide(batch_size: int, ranks: int, device_batch_size: int | None) -> int:
    """Into how many micro-batches each rank cuts its share of a global batch: the fewest that fit the device.

    UserError if the ranks do not divide the batch, or no part of it is small enough and larger than one image.
    """
    share, rest = divmod(batch_size, ranks)
    if rest:
        raise UserError(
            f"batch_size={batch_size} cannot be shared evenly by {ranks} ranks; use a multiple of {ranks}"
        )
    for parts in range(1, share):
        if share % parts == 0 and share // parts <= (device_batch_size or share):
            return parts
    raise UserError(
        f"batch_size={batch_size} on {ranks} ranks leaves each {share} images, which cannot be cut into equal parts of "
        f"2 to {device_batch_size or share}; use other sizes"
    )


@contextmanager
def join() -> Iterator[Ranks]:
    """The ranks of this run: torchrun's, a SLURM step's, or this process alone; see Ranks.together for errors."""
    slurm.enter_step()
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Ranks()
        return
    store, rank, world = next(dist.rendezvous("env://", timeout=timedelta(minutes=5)))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    ranks = Ranks(rank, world, int(os.environ.get("LOCAL_RANK", 0)), store)
    with ranks.propagate_errors():
        yield ranks
        dist.barrier()  # rank 0 keeps the store until all have read from it
        ranks.finish()
        dist.destroy_process_group()


def _lost_peer(error: Exception) -> bool:
    """Whether it is what a collective raises when the process at the other end is gone; gloo has no type for it."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "by peer" in str(error)
    )


def _gist(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
