"""Provenance: the revision of the code, also where git is reluctant."""

import subprocess

import pytest
from entry_points import ROOT

from clr.runs.provenance import hardware, provenance, revision


def git(folder, *arguments):
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    command = ["git", *identity, *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    revision.cache_clear()
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "code.py").write_text("")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "code")
    yield folder
    revision.cache_clear()


def test_the_revision_is_that_of_the_commit(checkout):
    assert revision(checkout) == git(checkout, "rev-parse", "--short=12", "HEAD")


def test_changed_files_are_marked(checkout):
    (checkout / "code.py").write_text("changed")
    assert revision(checkout).endswith("-dirty")


def test_a_checkout_of_another_user_has_a_revision(checkout, monkeypatch, capfd):
    expected = git(checkout, "rev-parse", "--short=12", "HEAD")
    # Git's own switch for its tests: every repository seems to belong to somebody else.
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(subprocess.CalledProcessError):
        git(checkout, "status")
    assert revision(checkout) == expected
    assert capfd.readouterr().err == ""


def test_without_git_the_revision_is_unknown_and_reported_once(checkout, monkeypatch, capfd):
    monkeypatch.setenv("PATH", "/nowhere")
    assert [revision(checkout), revision(checkout)] == ["unknown", "unknown"]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: the git revision is not recorded: ")


def test_code_that_git_does_not_track_has_no_revision(checkout, capfd):
    installed = checkout / "site-packages"
    installed.mkdir()
    (installed / "code.py").write_text("")
    assert revision(installed) == "unknown"
    assert "the git revision is not recorded" in capfd.readouterr().err


def test_a_folder_outside_of_git_has_no_revision(tmp_path, capfd):
    revision.cache_clear()
    assert revision(tmp_path) == "unknown"
    assert "not a git repository" in capfd.readouterr().err


def test_provenance_names_versions_and_hardware():
    stored = provenance()
    pins = dict(
        line.split("==")
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    )
    assert stored["libraries"]["torch"].split("+")[0] == pins["torch"].split("+")[0]
    assert stored["hardware"] == hardware()
    assert "cores" in hardware()
