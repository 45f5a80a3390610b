"""The key `threads` sets the number of CPU threads of a run, and of that run only."""

import pytest
import torch
from entry_points import PLAIN, TINY

from clr.config import load
from clr.data import prepare
from clr.training.device import cpu_threads
from clr.training.trainer import train


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def train_with(key, folder, store="runs"):
    """Train a small run with `threads=key`; return the content of its run.json."""
    folders = [f"data_dir={folder / 'data'}", f"store={folder / store}"]
    sizes = ["dataset.resolution=8", "epochs=1", "progress=false"]
    cfg = load([*TINY, *PLAIN, *sizes, *folders, f"threads={key}"])
    return train(cfg, prepare(cfg.dataset, cfg.data_dir, "torch"))


@pytest.mark.parametrize(("key", "count"), [(1, 1), ("null", 2), (3, 3)])
def test_a_run_has_its_own_number_of_threads(key, count, two_threads, tmp_path):
    assert train_with(key, tmp_path)["provenance"]["threads"] == count
    assert torch.get_num_threads() == 2


def test_the_numbers_do_not_depend_on_the_threads_of_the_process(two_threads, tmp_path):
    losses = []
    for process_threads in (1, 2):
        torch.set_num_threads(process_threads)
        result = train_with(1, tmp_path, store=f"runs{process_threads}")
        losses.append(result["summary"]["final_train_loss"])
    assert losses[0] == losses[1]


def test_the_number_is_restored_after_an_error(two_threads):
    with pytest.raises(KeyError), cpu_threads(1):
        raise KeyError
    assert torch.get_num_threads() == 2
