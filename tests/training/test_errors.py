"""Errors and exit codes: which are the user's, which keep their traceback."""

import errno
import json
import math
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from entry_points import ROOT, Train

from clr.cli import PIPE_CLOSED, fail
from clr.errors import CONTINUE, Busy, RankFailed, Stopped, UserError, first_line
from clr.files import null_to_nan, to_json, write_json
from clr.runs.progress_file import read_progress, write_progress
from clr.training.resource_errors import explain_resource_errors


def test_a_reader_that_ends_early_is_no_error():
    script = "from clr.cli import run_main; run_main(lambda: print('x' * 100_000))"
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, **pipe) as process:
        process.stdout.close()  # as `head` does
        assert process.stderr.read() == b""
    assert process.returncode == PIPE_CLOSED


def test_a_broken_pipe_elsewhere_keeps_its_traceback():
    script = """
from clr.cli import run_main
def main():
    raise BrokenPipeError("of a worker")
run_main(main)
"""
    finished = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True)
    assert b"BrokenPipeError: of a worker" in finished.stderr
    assert finished.returncode == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        torch.AcceleratorError("CUDA error: out of memory"),
    ],
    ids=repr,
)
def test_exhausted_memory_names_the_setting_that_helps(tmp_path, error):
    with (
        pytest.raises(UserError, match="no memory for 64 images at once; set device_batch_size"),
        explain_resource_errors(tmp_path, 64),
    ):
        raise error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(tmp_path, number):
    with (
        pytest.raises(UserError, match="is full; nothing recorded is lost"),
        explain_resource_errors(tmp_path, 64),
    ):
        raise OSError(number, "full")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_file_of_the_run_that_cannot_be_written_is_named(tmp_path, number):
    path = tmp_path / "steps.parquet.part"
    with (
        pytest.raises(UserError, match=f"cannot write {path}; what was recorded is safe"),
        explain_resource_errors(tmp_path, 64),
    ):
        raise OSError(number, "denied", str(path))


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "denied", "/another/file"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        NotImplementedError("no kernel for this device"),
        RecursionError("maximum recursion depth exceeded"),
        dist.DistBackendError("NCCL communicator was aborted"),
        torch._dynamo.exc.TorchRuntimeError("compiler: command not found"),
        FileNotFoundError(errno.ENOENT, "No such file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_passes_unchanged(tmp_path, error):
    with pytest.raises(type(error)) as caught, explain_resource_errors(tmp_path, 64):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (Busy("run-1 is trained by process 3"), CONTINUE, 1),
        (Stopped("run-1 stopped after step 3 of 8", "SIGTERM"), CONTINUE, 1),
        (KeyboardInterrupt(), 130, 1),
        (RankFailed("rank 1 failed"), 1, 1),
        (UserError("a mistake\nin two lines"), 2, 1),
        (ZeroDivisionError("a bug"), 1, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_codes(capsys, error, code, lines):
    with pytest.raises(SystemExit) as caught:
        fail(error)
    assert caught.value.code == code
    assert len(capsys.readouterr().err.splitlines()) >= lines


def test_only_a_bug_has_a_traceback(capsys):
    for error in (UserError("a mistake"), ZeroDivisionError("a bug")):
        with pytest.raises(SystemExit):
            try:
                raise error
            except Exception as raised:
                fail(raised)
    assert capsys.readouterr().err.count("Traceback") == 1


def test_the_first_line_of_an_error_without_a_message_is_its_type():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError("")) == "ValueError"
    assert first_line(ValueError("\n")) == "ValueError"


@pytest.mark.parametrize(
    "argument",
    [
        "=3",
        "+=3",
        "~=3",
        "epochs",
        "dataset=[",
        "optimizer=nope",
        "optimizer=3",
        "dataset.title='",
        "--foo",
        "--cfg=nope",
        "--config-name",
    ],
)
@pytest.mark.slow
def test_a_malformed_override_is_one_line(tmp_path, argument):
    run = Train([argument, f"store={tmp_path / 'runs'}", f"data_dir={tmp_path}"], tmp_path / "log")
    assert run.wait() == 2, run.output()
    assert run.output().count("\n") == 1, run.output()


def test_the_command_line_layer_does_not_import_torch():
    code = "import sys, clr.cli; print('torch' in sys.modules)"
    # clr/__init__.py exports the optimizer, so the package itself imports torch.
    source = "import sys, types; p = types.ModuleType('clr'); p.__path__ = ['clr']; "
    source += f"sys.modules['clr'] = p; {code}"
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_numbers_that_are_not_finite_become_null():
    content = {"a": math.nan, "b": [1.5, math.inf, {"c": -math.inf}], "d": (True, None, "NaN", 3)}
    expected = {"a": None, "b": [1.5, None, {"c": None}], "d": [True, None, "NaN", 3]}
    assert json.loads(to_json(content)) == expected
    assert math.isnan(null_to_nan({"loss": None})["loss"])
    assert null_to_nan({"loss": 0.5, "steps": 3}) == {"loss": 0.5, "steps": 3}


def test_an_interrupted_write_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "content.json"
    write_json({"a": 1}, path)
    with pytest.raises(TypeError):
        write_json({"a": object()}, path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


ROW = {"step": 5, "epoch": 0, "samples": 100, "loss": math.nan, "learning_rate": 0.5}


def test_progress_is_read_as_it_was_written(tmp_path):
    assert read_progress(tmp_path) is None
    write_progress(tmp_path, {**ROW, "grad_norm_sq": 1.0, "seconds": 2.0}, steps=20)
    progress = read_progress(tmp_path)
    assert (progress.step, progress.steps, progress.samples) == (5, 20, 100)
    assert math.isnan(progress.loss)
    assert progress.images_per_second == 50
    assert progress.remaining_seconds == 6


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"step": 3}', '{"step": null}'])
def test_a_damaged_progress_file_is_no_progress(tmp_path, content):
    (tmp_path / "progress.json").write_text(content)
    assert read_progress(tmp_path) is None
