"""Checkpoints on disk: the newest readable one is used, and no good one is lost to a bad one."""

import os
import threading
import zipfile

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from clr.errors import UserError
from clr.training.checkpoint import Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", keep=2)


def names(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def file_of(checkpoints, step):
    return checkpoints.folder / f"step-{step:09d}.pt"


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_the_table_of_contents(path):
    """Change the number of disks, which no checksum inside the archive covers."""
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\6\6") + 16] ^= 1  # of the zip64 record
    path.write_bytes(content)


def test_a_new_run_has_no_checkpoint(checkpoints):
    assert checkpoints.newest() is None


def test_the_newest_few_are_kept(checkpoints):
    for step in (9, 10, 11):
        checkpoints.save(step, {"step": step, "tensor": torch.arange(step)})
    assert names(checkpoints) == ["step-000000010.pt", "step-000000011.pt"]
    assert checkpoints.newest()["tensor"].tolist() == list(range(11))


def replace_by_another_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "not a checkpoint")


@pytest.mark.parametrize(
    "damage",
    [empty, truncate, flip_a_bit, change_the_table_of_contents, replace_by_another_archive],
)
def test_a_damaged_checkpoint_is_moved_aside_for_the_one_before_it(checkpoints, damage, capsys):
    for step in (1, 2):
        checkpoints.save(step, {"tensor": torch.full((1000,), step)})
    damage(file_of(checkpoints, 2))
    assert checkpoints.newest()["tensor"][0] == 1
    assert f"{file_of(checkpoints, 2)} is damaged" in capsys.readouterr().err
    assert names(checkpoints) == ["step-000000001.pt", "step-000000002.pt.damaged"]


def test_a_checkpoint_that_the_system_cannot_read_is_left_as_it_is(checkpoints):
    checkpoints.save(1, {})
    file_of(checkpoints, 2).mkdir()  # a read error, also for root
    with pytest.raises(UserError, match=r"step-000000002.pt cannot be read: Is a directory"):
        checkpoints.newest()
    assert names(checkpoints) == ["step-000000001.pt", "step-000000002.pt"]


def test_steps_are_ordered_as_numbers(checkpoints):
    for step in (999_999_999, 1_000_000_000):
        checkpoints.save(step, {"step": step})
    assert checkpoints.newest() == {"step": 1_000_000_000}


def test_a_checkpoint_is_not_deleted_as_it_is_written(checkpoints):
    for step in (99, 100):
        checkpoints.save(step, {})
        empty(file_of(checkpoints, step))
    for step in (1, 2, 3):
        checkpoints.save(step, {"step": step})
        assert file_of(checkpoints, step).exists(), f"step {step} is gone"
    assert checkpoints.newest() == {"step": 3}


def test_after_damage_two_good_checkpoints_are_kept_again(checkpoints):
    for step in (98, 99, 100):
        checkpoints.save(step, {"step": step})
    empty(file_of(checkpoints, 100))
    assert checkpoints.newest() == {"step": 99}
    for step in (100, 101):
        checkpoints.save(step, {"step": step})
    assert file_of(checkpoints, 100).exists()
    assert file_of(checkpoints, 101).exists()


def test_without_a_readable_checkpoint_the_run_does_not_start_over(checkpoints):
    checkpoints.save(1, {})
    empty(file_of(checkpoints, 1))
    for _ in range(2):  # also when the damaged file has been moved aside
        with pytest.raises(UserError, match=r"none of the checkpoints .* delete that folder"):
            checkpoints.newest()


def test_a_checkpoint_that_a_kill_interrupted_does_not_count(checkpoints):
    checkpoints.folder.mkdir()
    (checkpoints.folder / "step-000000001.pt.part").write_bytes(b"half")
    assert checkpoints.newest() is None
    checkpoints.save(2, {})
    assert names(checkpoints) == ["step-000000002.pt"]


def test_code_in_a_checkpoint_is_refused_and_not_called_damage(checkpoints, capsys):
    checkpoints.save(11, {"step": 11})
    checkpoints.save(12, {"code": os.getcwd})  # only the first one is read back
    assert checkpoints.newest() == {"step": 11}
    message = capsys.readouterr().err
    assert f"{file_of(checkpoints, 12)} is refused: it contains a posix.getcwd" in message
    assert "damaged" not in message
    assert file_of(checkpoints, 12).exists()


def test_state_that_could_not_be_restored_is_refused_when_it_is_first_written(checkpoints):
    with pytest.raises(UserError, match=r"omegaconf\.listconfig\.ListConfig; use an optimizer"):
        checkpoints.save(1, {"betas": OmegaConf.create([0.9, 0.95])})
    assert not checkpoints.folder.exists()


@pytest.mark.parametrize(
    "value",
    [lambda step: 1.0, threading.Lock(), (n for n in range(2))],
    ids=["function", "lock", "generator"],
)
def test_state_that_cannot_be_pickled_is_refused_in_one_line(checkpoints, value):
    with pytest.raises(UserError, match=r"cannot be restored.*pickle.*; use an optimizer") as error:
        checkpoints.save(1, {"lr_lambda": value})
    assert "\n" not in str(error.value)
    assert not checkpoints.folder.exists()


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.bool_])
def test_numpy_scalars_keep_their_type(checkpoints, kind):
    checkpoints.save(1, {"scalar": kind(1)})
    restored = checkpoints.newest()["scalar"]
    assert type(restored) is kind
    assert restored == kind(1)


def test_numpy_arrays_are_restored(checkpoints):
    for array in (np.arange(6).reshape(2, 3), np.array(0.5, np.float32)):
        checkpoints.save(1, {"array": array})
        restored = checkpoints.newest()["array"]
        assert restored.dtype == array.dtype
        np.testing.assert_array_equal(restored, array)
