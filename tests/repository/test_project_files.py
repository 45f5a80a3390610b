"""CITATION.cff, pre-commit hooks and the workflow: valid, and the same commands as make's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from markdown_pages import ROOT, between

MAKEFILE = (ROOT / "Makefile").read_text()
REQUIRED_BY_CFF = {"cff-version", "message", "title", "authors"}
KEYS_OF_CFF = REQUIRED_BY_CFF | {
    *("abstract", "type", "version", "license", "keywords", "preferred-citation"),
    *("identifiers", "url", "date-released", "references", "doi", "repository-code"),
}
KEYS_OF_REFERENCE = {
    *("type", "title", "authors", "year", "journal", "url", "identifiers", "doi", "month"),
    *("volume", "issue", "notes", "abstract", "license"),
}


def check_names(people):
    for person in people:
        is_person = set(person) <= {"family-names", "given-names", "orcid", "affiliation"}
        assert is_person or set(person) == {"name"}, person
        assert all(isinstance(value, str) for value in person.values()), person


def test_citation_follows_schema_1_2_0():
    """The rules of the schema that this file uses: required keys, known keys, types."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    missing = REQUIRED_BY_CFF - set(citation)
    assert not missing, f"CITATION.cff lacks {missing}"
    unknown = set(citation) - KEYS_OF_CFF
    assert not unknown, f"CITATION.cff has unknown keys {unknown}"
    check_names(citation["authors"])


def validation(path):
    """Call cffconvert's validation, by the schema of the Citation File Format."""
    pytest.importorskip("cffconvert", reason="installed by make test")
    command = [Path(sys.executable).parent / "cffconvert", "--validate", "--infile", path]
    return subprocess.run(command, capture_output=True, text=True)


def test_citation_is_valid_for_cffconvert(tmp_path):
    checked = validation(ROOT / "CITATION.cff")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    wrong = tmp_path / "CITATION.cff"
    text = (ROOT / "CITATION.cff").read_text()
    wrong.write_text(text.replace("type: software", "type: program"))
    assert validation(wrong).returncode != 0, "cffconvert accepts everything"


def test_citation_prefers_the_paper():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    assert set(paper) <= KEYS_OF_REFERENCE, set(paper) - KEYS_OF_REFERENCE
    assert {"type", "title", "authors"} <= set(paper)
    check_names(paper["authors"])
    assert isinstance(paper["year"], int)
    for identifier in paper["identifiers"]:
        assert identifier["type"] in {"doi", "url", "swh", "other"}, identifier


def test_readme_cites_the_same_paper():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    entry = between(ROOT / "README.md", "```bibtex\n", "```")
    assert f"{{{paper['title']}}}" in entry
    assert str(paper["year"]) in entry
    assert f"{{{paper['journal']}}}" in entry
    names = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert f"{{{' and '.join(names)}}}" in entry


def commands_of_make(*arguments):
    """Return the commands that make would run."""
    options = ("--no-print-directory", "--dry-run", "--assume-old=.venv/ready")
    command = ["make", *options, "--assume-old=.venv/arena", *arguments]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return printed.replace("\\\n", "").strip().splitlines()


@pytest.mark.parametrize("target", ["reproduce", "arena"])
def test_a_dry_run_of_make_draws_nothing(target):
    (command,) = commands_of_make(target, "ARGS=--dry-run")
    assert "sweep.py" in command
    assert "--dry-run" in command
    assert any("scripts/figures.py" in command for command in commands_of_make(target))


def test_pre_commit_runs_the_commands_of_make_check():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [hook["entry"] for hook in hooks] == commands_of_make("check")
    assert all(repository["repo"] == "local" for repository in config["repos"])


def test_the_workflow_runs_the_commands_of_ci():
    local = re.findall(r"^make .+$", (ROOT / ".ci/run").read_text(), re.M)
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if step.get("run", "").startswith("make")]
    assert local, ".ci/run calls no make"
    assert commands == local
    for command in commands:
        assert re.search(rf"^{command.split()[1]}:", MAKEFILE, re.M), f"no target of {command}"


def test_files_that_the_makefile_names_exist():
    for name in re.findall(r"(?:scripts|tests|bench)/[\w/]+\.(?:py|sh)", MAKEFILE):
        assert (ROOT / name).is_file(), f"the Makefile calls {name}, which does not exist"
