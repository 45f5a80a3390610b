"""SLURM without a SLURM: its environment variables, squeue's output, the batch file."""

import os
import subprocess
import sys

import pytest

from clr import slurm
from clr.errors import UserError
from clr.sweeps.backends.slurm import Queue, job_failure, slurm_backend, with_srun_cpus


@pytest.fixture
def step(monkeypatch):
    """Task 1 of a step of two tasks on two nodes, on a host without scontrol."""
    for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(key, raising=False)
    variables = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "gpu[07-08]",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
        "PATH": "/nowhere",
    }
    with monkeypatch.context() as patch:
        for key, value in variables.items():
            patch.setenv(key, value)
        yield patch
        for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(key, None)


def test_a_task_of_a_step_is_a_rank(step):
    slurm.enter_step()
    assert os.environ["RANK"] == "1"
    assert os.environ["LOCAL_RANK"] == "0"
    assert os.environ["WORLD_SIZE"] == "2"
    assert os.environ["MASTER_ADDR"] == "gpu07"
    assert os.environ["MASTER_PORT"] == str(20000 + 7 * 16)


def test_a_master_address_that_is_set_is_kept(step):
    step.setenv("MASTER_ADDR", "10.0.0.1")
    step.delenv("SLURM_STEP_NODELIST")
    slurm.enter_step()
    assert os.environ["MASTER_ADDR"] == "10.0.0.1"


def test_a_shell_inside_a_job_is_not_a_step(step):
    step.setenv("SLURM_STEP_NUM_TASKS", "1")
    slurm.enter_step()
    assert "RANK" not in os.environ


@pytest.mark.parametrize(
    ("nodelist", "host"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("gpu[07-09,12]", "gpu07"),
        ("gpu[3,5]", "gpu3"),
        ("rack[1-2]node[4-5],login", "rack1node4"),
        ("n[1-2]-ib,m1", "n1-ib"),
    ],
)
def test_the_first_host_of_a_node_list(nodelist, host):
    assert slurm.first_host(nodelist) == host


@pytest.mark.parametrize(
    ("output", "states"),
    [
        ("7|RUNNING\n8_0|PENDING\n", {"7": "RUNNING", "8_0": "PENDING"}),
        ("CLUSTER: c1\n7|RUNNING\n\nCLUSTER: c2\n9|FAILED\n", {"7": "RUNNING", "9": "FAILED"}),
        ("7|CANCELLED by 1000\n8|CANCELLED+\n", {"7": "CANCELLED", "8": "CANCELLED"}),
        ("JOBID|STATE\n7|RUNNING \r\n8|\n", {"7": "RUNNING"}),
        ("", {}),
    ],
)
def test_the_output_of_squeue(output, states):
    assert slurm.parse_squeue(output) == states


def test_a_squeue_that_is_missing_or_fails_tells_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.job_states() is None
    (tmp_path / "squeue").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    assert slurm.job_states() is None


@pytest.mark.parametrize(
    ("state", "final"),
    [
        ("CANCELLED", True),
        ("OUT_OF_MEMORY", True),
        ("DEADLINE", True),
        ("NODE_FAIL", False),
        ("TIMEOUT", False),
        ("FAILED", False),
        (None, False),
    ],
)
def test_which_ends_of_a_job_are_retried(state, final):
    assert slurm.is_over(state)
    assert job_failure(state, "/log").final is final


def test_a_host_without_slurm_is_a_mistake(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="use hydra/launcher=workers"):
        slurm_backend("runs", Queue(poll_seconds=1, max_requeues=1), {})


@pytest.fixture
def sbatch(monkeypatch, tmp_path):
    """A host whose sbatch accepts every job; submitit looks for srun as well."""
    for name, line in (("sbatch", "echo Submitted batch job 7"), ("srun", "exit 0")):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_the_batch_file_gives_srun_the_cpus_of_a_task(sbatch, tmp_path):
    """srun does not inherit --cpus-per-task from sbatch since SLURM 22.05."""
    store = tmp_path / "runs"
    (store / "name").mkdir(parents=True)
    parameters = {"cpus_per_task": 4, "timeout_min": 5, "slurm_srun_args": []}
    backend = slurm_backend(str(store), Queue(1, 1), parameters)
    backend.start(["name"])
    text = next((store / ".submitit").rglob("*.sh")).read_text()
    (srun,) = [line for line in text.splitlines() if line.startswith("srun ")]
    assert "#SBATCH --cpus-per-task=4" in text
    assert "--cpus-per-task=4" in srun.split()


@pytest.mark.parametrize("own", [["--cpus-per-task=2"], ["-c", "2"], ["-c2"]])
def test_an_own_number_of_cpus_for_srun_is_kept(own):
    parameters = {"cpus_per_task": 4, "slurm_srun_args": own}
    assert with_srun_cpus(parameters) == parameters


def test_a_store_that_slurm_would_rename_is_a_mistake(sbatch):
    with pytest.raises(UserError, match="store=50%: SLURM replaces %"):
        slurm_backend("50%", Queue(1, 1), {})


def test_a_job_does_not_hand_its_variables_to_the_next(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/conf")
    print_variables = "import os; print(sorted(k for k in os.environ if k.startswith('SLURM_')))"
    with slurm.outside_of_jobs():
        seen = subprocess.run([sys.executable, "-c", print_variables], capture_output=True).stdout
    assert seen == b"['SLURM_CONF']\n"
    assert os.environ["SLURM_JOB_ID"] == "7"
