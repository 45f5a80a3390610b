"""SLURM's environment variables and queue: the ranks of a step, and the states of jobs."""

from __future__ import annotations

import os
import re
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
# States after which a new job would end in the same way or is not wanted.
_FINAL = {"CANCELLED", "DEADLINE", "OUT_OF_MEMORY"}

_FIRST_PORT, _PORTS, _STEPS = 20000, 20000, 16


def enter_step() -> None:
    """Set the variables that torchrun would set, in a task of an `srun` with several tasks.

    A shell or a batch script inside a job has SLURM_* variables as well, but is not a step of
    several tasks: it trains with one rank. Variables that are set already are kept.
    """
    env = os.environ
    if "RANK" in env or "SLURM_STEP_ID" not in env or int(env.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return
    env["RANK"], env["LOCAL_RANK"] = env["SLURM_PROCID"], env["SLURM_LOCALID"]
    env["WORLD_SIZE"] = env["SLURM_STEP_NUM_TASKS"]
    if "MASTER_ADDR" not in env:
        env["MASTER_ADDR"] = first_host(env["SLURM_STEP_NODELIST"])
    # The same port in all tasks of the step, and another one for other jobs on the node.
    slot = int(env["SLURM_JOB_ID"]) * _STEPS + int(env["SLURM_STEP_ID"]) % _STEPS
    env.setdefault("MASTER_PORT", str(_FIRST_PORT + slot % _PORTS))


def first_host(nodelist: str) -> str:
    """Return the first host of a node list such as `gpu[07-09,12],login1`.

    `scontrol show hostnames` gives the same, but is missing in most containers.
    """
    (first,) = re.findall(r"^(?:[^,\[]|\[[^\]]*\])+", nodelist)
    return re.sub(r"\[([^\]\-,]+)[^\]]*\]", r"\1", first)


def job_states() -> dict[str, str] | None:
    """Return the state of each job of this user by its id, also of those that ended lately.

    Ids are `7` or, in an array, `7_0`. None if SLURM does not answer, as during a restart of its
    controller: nothing may be concluded then.
    """
    command = ["squeue", "--noheader", "--array", "--states=all", "--me", "--format=%i|%T"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_squeue(done.stdout)


def parse_squeue(output: str) -> dict[str, str]:
    """Parse lines of `ID|STATE`; skip others, such as `CLUSTER: c1` in a federation.

    Of a state with an addition, such as `CANCELLED by 1000` or `CANCELLED+`, the name remains.
    """
    states = {}
    for line in output.splitlines():
        if found := re.fullmatch(r"\s*(\d[^|\s]*)\|([A-Z_]+).*", line):
            job, state = found.groups()
            states[job] = state
    return states


def is_over(state: str | None) -> bool:
    """Return whether a job in this state has ended; None is a job that SLURM has forgotten."""
    return state is None or state in _OVER


def is_final(state: str | None) -> bool:
    """Return whether a new job for the same run would be useless or unwanted after this state."""
    return state in _FINAL


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Remove the variables of the job that this process runs in, which sbatch would pass on."""
    removed = {
        key: value
        for key, value in os.environ.items()
        if key.startswith("SLURM_") and key != "SLURM_CONF"
    }
    for key in removed:
        del os.environ[key]
    try:
        yield
    finally:
        os.environ.update(removed)
