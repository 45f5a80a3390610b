import pytest
from small_sweeps import Folders


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A data_dir with the digits of `small_sweeps.DATA` converted."""
    folders = Folders(str(tmp_path_factory.mktemp("data")), "", "")
    folders.prepare_data()
    return folders.data


@pytest.fixture
def folders(digits, tmp_path):
    return Folders(digits, str(tmp_path / "runs"), str(tmp_path / "results"))
