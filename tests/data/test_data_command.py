"""The command scripts/prepare_data.py."""

import subprocess
import sys

import pytest
from data_cases import ROOT


@pytest.fixture
def prepare_data(tmp_path):
    """Run the command in an empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / "scripts" / "prepare_data.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


@pytest.mark.slow
def test_help_explains_the_arguments(prepare_data, tmp_path):
    done = prepare_data("--help")
    assert done.returncode == 0, done.stderr
    assert "KEY=VALUE" in done.stdout
    assert "python scripts/prepare_data.py dataset=cifar10" in done.stdout


@pytest.mark.slow
def test_prepared_data_are_described(prepare_data, data_folder, tmp_path):
    overrides = ["dataset=folder", f"dataset.path={data_folder}", "loader=torch"]
    (data_folder / "train" / "ant" / "x.txt").write_text("not an image")
    done = prepare_data(*overrides, "dataset.name=insects", "data_dir=converted")
    assert done.returncode == 0, done.stderr
    assert "insects: 24 training and 9 test images, 3 classes\n" in done.stdout
    assert "1 converted from L to RGB\n" in done.stdout
    assert "1 could not be read and are listed in converted/insects-" in done.stdout
    assert list(tmp_path.glob("converted/insects-*/manifest.json"))
