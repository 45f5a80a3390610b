import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import figure_tables
import pytest
import report_folder

from clr.cli import run_main


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of tests/figure_tables.py, whose numbers are known. Read only."""
    return figure_tables.write(tmp_path_factory.mktemp("known") / "quick")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with everything that a report needs. Read only."""
    return report_folder.write(tmp_path_factory.mktemp("results") / "quick")


@pytest.fixture
def run_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a script's `main` in this process: exit code, standard output and standard error."""

    def run(script: ModuleType, *args: str, cwd: Path) -> tuple[int, str, str]:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", [f"{script.__name__.rpartition('.')[2]}.py", *args])
        try:
            run_main(script.main)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    return run
