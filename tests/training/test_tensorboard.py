"""TensorBoard as the mirror: the event file has the records, also after a resume."""

import sys

import pytest
from entry_points import Train, ranks
from mirrored_runs import (
    INTERRUPTIONS,
    MIRRORED,
    assert_mirrored,
    interrupt,
    places,
    resume,
    run_folder,
)

from clr.config import load
from clr.errors import UserError
from clr.training.mirror import open_mirror

MIRROR = [*MIRRORED, "mirror=tensorboard"]


def logged(folder):
    """The values of all event files of a run, by step and tag. Each step has one value of a tag."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    util = pytest.importorskip("tensorboard.util.tensor_util")
    events = accumulator.EventAccumulator(
        str(folder / "tensorboard"), size_guidance={accumulator.TENSORS: 0}
    )
    events.Reload()
    rows = {}
    for tag in events.Tags()["tensors"]:
        for event in events.Tensors(tag):
            row = rows.setdefault(event.step, {})
            assert tag not in row, f"two values of {tag} at step {event.step}"
            row[tag] = util.make_ndarray(event.tensor_proto).item()
    return rows


@pytest.mark.slow
def test_the_event_file_of_two_ranks_has_every_recorded_step(tmp_path, free_port):
    pytest.importorskip("tensorboard")
    pair = ranks(2, free_port, [*MIRROR, *places(tmp_path)], tmp_path / "log")
    assert [rank.wait() for rank in pair] == [0, 0], [rank.output() for rank in pair]
    folder = run_folder(tmp_path)
    assert_mirrored(logged(folder), folder)
    assert len(list((folder / "tensorboard").iterdir())) == 1, "rank 0 alone writes"
    assert not (folder / "wandb").exists(), "one mirror at a time"


@pytest.mark.slow
@pytest.mark.parametrize("number", INTERRUPTIONS, ids=lambda number: number.name)
def test_the_event_file_of_a_resumed_run_has_every_step_once(tmp_path, number):
    pytest.importorskip("tensorboard")
    interrupt(tmp_path, MIRROR, number)
    resume(tmp_path, MIRROR)
    assert_mirrored(logged(run_folder(tmp_path)), run_folder(tmp_path))


@pytest.mark.slow
def test_the_mirror_can_change_when_a_run_resumes(tmp_path):
    pytest.importorskip("tensorboard")
    interrupt(tmp_path, MIRRORED, INTERRUPTIONS[0])
    resume(tmp_path, MIRROR)
    assert_mirrored(logged(run_folder(tmp_path)), run_folder(tmp_path))


def test_a_missing_package_is_one_line_that_names_the_fix(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    cfg = load(["mirror=tensorboard", "batch_size=50", "epochs=2"])
    with pytest.raises(UserError, match="requirements-tensorboard"):
        open_mirror(cfg, "run", tmp_path, enabled=True)


@pytest.mark.slow
def test_an_unknown_mirror_is_a_users_mistake(tmp_path):
    run = Train([*MIRRORED, *places(tmp_path), "mirror=mlflow"], tmp_path / "log")
    assert run.wait() == 2
    assert "mirror=mlflow is not one of wandb, tensorboard" in run.output()
