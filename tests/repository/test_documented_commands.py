"""Commands in README and docs are accepted: overrides compose, options and targets exist."""

import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
from hydra import compose, initialize_config_dir
from markdown_pages import PAGES, ROOT, blocks, commands

from clr.config import CONFIGS, load
from sweep import arguments

# The commands of these pages need the files that they write: test_your_own.py and
# test_add_an_optimizer.py run them.
CHECKED = [page for page in PAGES if page.name not in ("your-own.md", "add-an-optimizer.md")]
COMMANDS = sorted({command for page in CHECKED for command in commands(page)})
MAKEFILE = (ROOT / "Makefile").read_text()
# Commands of other programs, which only have to be well-formed.
FOREIGN = {"git", "cd", "pre-commit", "exit", "[", "conda", "export"}
TOOLS = {".venv/bin/tensorboard", ".venv/bin/pip-audit", ".venv/bin/wandb"}
HYDRA_FLAGS = {"-m", "--multirun", "--dry-run"}


def words(command):
    """The command's words, without comments and placeholders (`...`)."""
    return [word for word in shlex.split(command, comments=True) if word != "..."]


def overrides_after(entry_point, given):
    position = next(i for i, word in enumerate(given) if word.endswith(entry_point))
    return [word for word in given[position + 1 :] if word not in HYDRA_FLAGS]


def each_job(overrides):
    """The overrides of each job of a Hydra multirun."""
    axes = []
    for override in overrides:
        key, _, values = override.partition("=")
        axes.append([f"{key}={value}" for value in values.split(",")])
    return [list(job) for job in itertools.product(*axes)]


def check_train(given):
    overrides = overrides_after("train.py", given)
    launcher = [o for o in overrides if o.startswith("hydra")]
    jobs = [o for o in overrides if not o.startswith("hydra")]
    for job in each_job(jobs):
        load(job)
    if launcher:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            compose("train", overrides=launcher, return_hydra_config=True)


def check_sweep(given):
    overrides = arguments(overrides_after("sweep.py", given))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        sweep = compose("sweep", overrides=overrides, return_hydra_config=True)
        figures = {str(name): needs for name, needs in sweep.figures.items()}
        tasks = sweep.protocol.tasks
        for figure in map(str, sweep.figure):
            assert figure in figures, f"there is no figure {figure}"
            needed = {need.task for need in figures[figure]}
            found = [name for name, task in tasks.items() if needed & {name, "each"}]
            assert found, f"protocol {sweep.protocol.name} has no runs of figure {figure}"
            for name in found:
                compose("train", overrides=[*tasks[name].overrides, *sweep.train])


def check_script(given):
    script = next(word for word in given if word.startswith("scripts/"))
    arguments = given[given.index(script) + 1 :]
    usage = help_of(script)
    for option in (word.partition("=")[0] for word in arguments if word.startswith("--")):
        assert option in usage, f"{script} has no option {option}"
    if script == "scripts/prepare_data.py":
        load(arguments)


def check_make(given):
    for word in given[1:]:
        name, assigned, _ = word.partition("=")
        if assigned:
            assert f"$({name})" in MAKEFILE, f"the Makefile has no variable {name}"
        else:
            assert re.search(rf"^{re.escape(word)}:", MAKEFILE, re.M), f"no make target {word}"


def check_pip(given):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in re.findall(r"\.\[([\w,]+)\]", " ".join(given)):
        for extra in name.split(","):
            assert extra in extras["optional-dependencies"], f"there is no extra {extra}"

    for name in (word for word in given if word.startswith("requirements")):
        assert (ROOT / name).is_file(), f"{name} does not exist"


def check_pytest(given):
    """Each test file exists and has a test with the word after `-k` in its name."""
    word = given[given.index("-k") + 1] if "-k" in given else ""
    for name in (part for part in given if part.startswith("tests/")):
        assert re.search(rf"^def test_\w*{word}", (ROOT / name).read_text(), re.M), name


def help_of(script):
    """The output of `script --help`."""
    spec = importlib.util.spec_from_file_location("script", ROOT / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        printed = []
        patch.setattr(sys, "argv", [script, "--help"])
        patch.setattr(sys.stdout, "write", printed.append)
        module.main()
    assert not left.value.code, f"{script} --help has exit code {left.value.code}"
    return "".join(printed)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.slow
def test_a_documented_command_is_accepted(command):
    given = words(command)
    for part in itertools.takewhile(lambda word: not re.fullmatch(r"\w+=\S*", word), given):
        if part.startswith(("bench/", "examples/", "scripts/")):
            assert (ROOT / part).is_file(), f"{part} does not exist"
    if not given:  # a comment
        return
    if any(word.endswith("train.py") for word in given):
        check_train(list(itertools.takewhile(lambda word: not word.endswith(";"), given)))
    elif any(word.endswith("sweep.py") for word in given):
        check_sweep(given)
    elif any(word.startswith("scripts/") for word in given):
        check_script(given)
    elif "pytest" in given:
        check_pytest(given)
    elif given[0] == "make":
        check_make(given)
    elif given[0] in ("pip", ".venv/bin/pip"):
        check_pip(given)
    elif any(word.startswith("bench/") for word in given):
        assert not [word for word in given if word.startswith("--")]
    elif "http.server" in given:  # of Python itself
        assert given[:3] == [".venv/bin/python", "-m", "http.server"]
    elif given[-1].startswith("examples/"):
        assert given[0] in (".venv/bin/python", ".venv/bin/torchrun"), command
    else:
        assert given[0] in FOREIGN | TOOLS or all("=" in w for w in given), (
            f"not checked: {command}"
        )


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").glob("*.py")))
def test_every_script_explains_itself(script):
    usage = help_of(f"scripts/{script}")
    assert usage.startswith("usage:"), usage[:200]
    assert len(usage.splitlines()) >= 5, f"{script} --help says too little: {usage}"


def test_bash_blocks_are_valid_shell():
    for page in PAGES:
        for block in blocks(page):
            if block.language == "bash":
                shell = subprocess.run(
                    ["bash", "-n"], input=block.text, capture_output=True, text=True
                )
                assert shell.returncode == 0, f"{page.name}: {shell.stderr}\n{block.text}"


def test_the_check_rejects_what_does_not_exist():
    for wrong in ("make nothing", "make reproduce NOWHERE=1"):
        with pytest.raises(AssertionError):
            check_make(words(wrong))
    with pytest.raises(Exception, match="nokey"):
        check_train(words(".venv/bin/python train.py nokey=1"))
    with pytest.raises(AssertionError):
        check_script(words(".venv/bin/python scripts/figures.py results/quick --nothing"))
