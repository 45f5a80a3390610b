from pathlib import Path

import figure_tables
import pytest
import report_folder


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of tests/figure_tables.py, whose numbers are known. Read only."""
    return figure_tables.write(tmp_path_factory.mktemp("known") / "quick")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with everything that a report needs. Read only."""
    return report_folder.write(tmp_path_factory.mktemp("results") / "quick")
