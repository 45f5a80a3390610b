"""A real SLURM of two nodes on this host, for test_slurm.py."""

import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

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
SlurmdTimeout=20
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


class Cluster:
    """A controller and two nodes; srun and scancel find them by `environment`."""

    def __init__(self, tmp):
        self.tmp = tmp
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        for name in ("state", "n1", "n2"):
            (tmp / name).mkdir()
        (tmp / "slurm.conf").write_text(
            CONF.format(host=socket.gethostname(), tmp=tmp, ports=ports)
        )
        start_munge()
        self.daemons = {"ctld": self.daemon("slurmctld", "-D")}
        for node in ("n1", "n2"):
            self.start_node(node)
        # Unlike those of a cluster, the names of these nodes cannot be resolved.
        self.environment = os.environ | {
            "SLURM_CONF": str(tmp / "slurm.conf"),
            "MASTER_ADDR": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
        }
        self.stopped = threading.Event()
        threading.Thread(target=self.hurry, daemon=True).start()

    def hurry(self):
        """Start requeued jobs at once; SLURM itself lets them wait for two minutes."""
        while not self.stopped.wait(2):
            for line in self.ask("squeue", "-h", "-r", "-t", "PD", "-o", "%i %r").splitlines():
                if line.endswith("BeginTime"):
                    self.ask("scontrol", "update", f"JobId={line.split()[0]}", "StartTime=now")

    def daemon(self, *command):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([*command, "-f", str(self.tmp / "slurm.conf")], **quiet)

    def start_node(self, node):
        self.daemons[node] = self.daemon("slurmd", "-D", "-N", node)

    def crash_node(self, node):
        """Kill the daemon and all processes of its jobs, as a power failure would."""
        self.daemons[node].kill()
        self.daemons[node].wait()
        jobs = self.ask("squeue", "-h", "-t", "R", "-w", node, "-o", "%A").split()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command, environment = (
                    (process / "cmdline").read_text(),
                    (process / "environ").read_bytes().split(b"\0"),
                )
            except OSError:
                continue
            if any(
                f"SLURM_JOB_ID={job}".encode() in environment or f"slurmstepd: [{job}." in command
                for job in jobs
            ):
                os.kill(int(process.name), signal.SIGKILL)
        return jobs

    def ask(self, *command):
        return subprocess.run(command, env=self.environment, capture_output=True, text=True).stdout

    def stop(self):
        self.stopped.set()
        for process in reversed(self.daemons.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.daemons.values():
            process.wait(30)


def wait_for(condition, seconds, cluster):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, (cluster.tmp / "ctld.log").read_text()[
            -3000:
        ] + cluster.ask("squeue", "-r")
        time.sleep(0.1)
    return found


def idle(environment):
    nodes = subprocess.run(
        ["sinfo", "-hN", "-o", "%T"], env=environment, capture_output=True, text=True
    ).stdout
    return nodes.split().count("idle")
