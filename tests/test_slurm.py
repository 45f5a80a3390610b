"""A real SLURM on this host, two nodes of it: `make slurm-test` installs it and runs this."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from doors import PLAIN, ROOT, TINY, Train, ranks

from clr.signals import CONTINUE

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(os.getuid() != 0 or not shutil.which("slurmctld"), reason="call make slurm-test as root"),
]

CONF = """\
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={tmp}/state
SlurmdSpoolDir={tmp}/%n
SlurmctldPidFile={tmp}/ctld.pid
SlurmdPidFile={tmp}/%n.pid
SlurmctldLogFile={tmp}/ctld.log
SlurmdLogFile={tmp}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmctldPort={ports[0]}
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def start_munge():
    if subprocess.run(["pgrep", "-x", "munged"], stdout=subprocess.DEVNULL).returncode == 0:
        return
    user, key = pwd.getpwnam("munge"), Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
        os.chown(key, user.pw_uid, user.pw_gid)
        key.chmod(0o400)
    Path("/run/munge").mkdir(exist_ok=True)
    os.chown("/run/munge", user.pw_uid, user.pw_gid)
    subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=True)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment in which srun and scancel find the cluster."""
    tmp = tmp_path_factory.mktemp("slurm")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    for name in ("state", "n1", "n2"):
        (tmp / name).mkdir()
    conf = tmp / "slurm.conf"
    conf.write_text(CONF.format(host=socket.gethostname(), tmp=tmp, ports=ports))
    start_munge()
    daemons = [["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen([*daemon, "-f", str(conf)], **quiet) for daemon in daemons]
    # The names of these nodes resolve nowhere, as those of a cluster do.
    environment = os.environ | {"SLURM_CONF": str(conf), "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    try:
        deadline = time.monotonic() + 60
        while idle(environment) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert idle(environment) == 2, (tmp / "ctld.log").read_text()[-2000:]
        yield environment
    finally:
        for daemon in reversed(running):
            daemon.send_signal(signal.SIGTERM)
        for daemon in running:
            daemon.wait(30)


def idle(environment):
    nodes = subprocess.run(["sinfo", "-hN", "-o", "%T"], env=environment, capture_output=True, text=True).stdout
    return nodes.split().count("idle")


def srun(environment, tmp, *args):
    command = ["srun", "-N2", "-n2", sys.executable, "train.py", *TINY, *PLAIN, f"data_dir={tmp / 'data'}", *args]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)  # fmt: skip


def records(store):
    (folder,) = store.iterdir()
    return pd.read_parquet(folder / "steps.parquet").drop(columns="seconds")


def test_a_step_of_two_nodes_is_one_run_that_a_signal_stops_and_the_same_command_continues(slurm, tmp_path, free_port):
    local = ranks(2, free_port, [*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'local'}",
                                 "epochs=15"], tmp_path / "log")  # fmt: skip
    assert [rank.wait() for rank in local] == [0, 0], [rank.output() for rank in local]

    args = [f"store={tmp_path / 'runs'}", "epochs=15", "checkpoint.seconds=1"]
    run = srun(slurm, tmp_path, *args)
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("runs/*/checkpoints/step-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    job = subprocess.run(["squeue", "-h", "-o", "%i"], env=slurm, capture_output=True, text=True).stdout.strip()
    subprocess.run(["scancel", "--signal=USR2", job], env=slurm, check=True)
    output, _ = run.communicate(timeout=100)
    assert run.returncode == CONTINUE and "stopped after step" in output, output
    assert 0 < len(records(tmp_path / "runs")) < 60

    again = srun(slurm, tmp_path, *args)
    output, _ = again.communicate(timeout=200)
    assert again.returncode == 0 and output.count("finished: 60 steps") == 1, output
    pd.testing.assert_frame_equal(records(tmp_path / "runs"), records(tmp_path / "local"), check_exact=True)


def test_what_only_looks_like_a_step_trains_alone(tmp_path):
    """A shell inside a job has SLURM's variables too."""
    shell = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0",
             "SLURM_STEP_NUM_TASKS": "1"}  # fmt: skip
    run = Train(
        [*TINY, *PLAIN, f"data_dir={tmp_path / 'data'}", f"store={tmp_path / 'runs'}"], tmp_path / "log", **shell
    )
    assert run.wait() == 0 and "finished: 8 steps" in run.output(), run.output()
