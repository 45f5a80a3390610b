import os
import socket
from collections.abc import Iterator
from itertools import count

import pytest

from clr.cpus import available_cpus

# pytest-xdist's workers share the CPUs, also with the processes that they start.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    _threads = max(1, available_cpus() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(_threads))

# Each pytest-xdist worker takes ports of its own, below the range that the kernel gives to clients.
_FIRST_PORT, _PORTS_PER_WORKER = 12_000, 1_000
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports: Iterator[int] = count(_FIRST_PORT + _worker * _PORTS_PER_WORKER, step=10)


class FailuresAtOnce:
    """Prints each failure when it happens: tests that are stopped print no summary."""

    def __init__(self, config):
        self._config = config

    def pytest_runtest_logreport(self, report):
        if report.failed:
            terminal = self._config.pluginmanager.get_plugin("terminalreporter")
            lines = report.longreprtext.splitlines()
            error = next((line for line in lines if line.startswith("E ")), "")
            terminal.write_line(f"\n{report.nodeid} failed in {report.when}: {error}")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # pytest-xdist's workers have no terminal
        config.pluginmanager.register(FailuresAtOnce(config))


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens; the nine ports above it belong to this test as well."""
    for port in _ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("unreachable")
