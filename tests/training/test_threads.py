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


@pytest.mark.parametrize(("key", "count"), [(1, 1), ("null", 2), (3, 3)])
def test_a_run_has_its_own_number_of_threads(key, count, two_threads, tmp_path):
    folders = [f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"]
    sizes = ["dataset.resolution=8", "epochs=1", "progress=false"]
    cfg = load([*TINY, *PLAIN, *sizes, *folders, f"threads={key}"])
    result = train(cfg, prepare(cfg.dataset, cfg.data_dir, "torch"))
    assert result["provenance"]["threads"] == count
    assert torch.get_num_threads() == 2


def test_the_number_is_restored_after_an_error(two_threads):
    with pytest.raises(KeyError), cpu_threads(1):
        raise KeyError
    assert torch.get_num_threads() == 2
