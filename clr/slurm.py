"""SLURM's own variables and commands: the ranks of a step, the states of jobs. Jobs are submitted by clr.sweeps.backends.submitit_jobs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

# States that a job does not leave by itself.
_OVER = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}


def enter_step() -> None:
    """Set what torchrun would, inside an `srun` of several tasks.

    A shell or a batch script has SLURM_* variables too, but no step of several tasks: it trains with one rank.
    """
    env = os.environ
    if "RANK" in env or "SLURM_STEP_ID" not in env or int(env.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return
    hosts = subprocess.run(
        ["scontrol", "show", "hostnames", env["SLURM_STEP_NODELIST"]],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    env["RANK"], env["LOCAL_RANK"] = env["SLURM_PROCID"], env["SLURM_LOCALID"]
    env["WORLD_SIZE"] = env["SLURM_STEP_NUM_TASKS"]
    env.setdefault("MASTER_ADDR", hosts[0])
    # All tasks of the step must name the same port, and steps of other jobs on the node other ones.
    env.setdefault(
        "MASTER_PORT",
        str(20000 + (int(env["SLURM_JOB_ID"]) * 16 + int(env["SLURM_STEP_ID"]) % 16) % 20000),
    )


def job_states() -> dict[str, str] | None:
    """The state of each job of this user by its id (`7`, in an array `7_0`), also of those that ended lately.

    None if SLURM does not answer just now, as during a restart of its controller: nothing may be concluded then.
    """
    try:
        told = subprocess.run(
            ["squeue", "--noheader", "--array", "--states=all", "--me", "--format=%i|%T"],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split("|") for line in told.split())


def is_over(state: str | None) -> bool:
    """Whether a job in this state will do nothing more; None is one that SLURM knows no longer."""
    return state is None or state in _OVER


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Without the variables of a job that this process may run in: sbatch would hand them on to the new one."""
    kept = dict(os.environ)
    for key in kept:
        if key.startswith("SLURM_") and key != "SLURM_CONF":
            del os.environ[key]
    try:
        yield
    finally:
        os.environ.update(kept)
