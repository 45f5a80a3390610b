"""The shape of the code: import rules, one home for each rule, sizes."""

import ast
import re
import sys
import tokenize
from dataclasses import dataclass
from io import StringIO

import pytest
from markdown_pages import ROOT, tracked
from sources import (
    LIBRARY,
    PYTHON,
    cycle_in,
    import_graph,
    imported_packages,
    module_of,
    name_of,
    tree,
)

FILE_LINES, FUNCTION_LINES = 300, 60
STANDARD = set(sys.stdlib_module_names)
# Which packages of clr a package may import, in addition to clr's own top-level modules.
MAY_IMPORT = {
    "geometry": set(),
    "methods": set(),
    "data": set(),
    "training": {"data", "geometry", "runs"},
    "runs": {"data"},
    "sweeps": {"data", "training", "runs", "analysis"},
    "analysis": {"runs", "geometry"},
}
# Third-party packages that only these files may import.
ONLY_HOME = {
    "wandb": ["clr/training/wandb_mirror.py"],
    "submitit": ["clr/sweeps/backends/"],
    "ffcv": ["clr/data/ffcv_files.py"],
    "dadaptation": ["clr/methods/dadaptation.py"],
    "prodigyopt": ["clr/methods/prodigy.py"],
    "hydra": ["clr/", "train.py", "sweep.py", "hydra_plugins/", "scripts/"],
    "matplotlib": ["clr/analysis/"],
    "bokeh": ["clr/analysis/report/"],
    "jinja2": ["clr/analysis/report/"],
    "itables": ["clr/analysis/report/"],
}


@dataclass(frozen=True)
class Rule:
    """Text that only the `homes` may contain; all others call `instead`."""

    pattern: str
    homes: tuple[str, ...]
    instead: str


RULES = [
    Rule(
        r"\bos\.replace\(",
        ("clr/files.py", "clr/data/ffcv_files.py"),
        "clr.files.atomic_write",
    ),
    Rule(r"\bos\.rename\(|\bshutil\.move\(", ("clr/data/",), "clr.files (folders: clr.data)"),
    Rule(r"\bos\.fsync\(", ("clr/files.py", "clr/data/"), "clr.files.atomic_write"),
    Rule(r"error\b.*\.splitlines\(\)\[0\]", ("clr/errors.py",), "clr.errors.first_line"),
    Rule(
        r"\btorch\.utils\.tensorboard\b",
        ("clr/training/tensorboard_mirror.py",),
        "clr.training.mirror",
    ),
    Rule(r"\bSLURM_", ("clr/slurm.py", "clr/sweeps/backends/"), "clr.slurm"),
]


def is_in(path, homes):
    return any(name_of(path).startswith(home) for home in homes)


def functions(path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]


def test_a_cycle_is_found():
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_import_cycle():
    """Imports inside functions and those for type checkers count as well."""
    cycle = cycle_in(import_graph())
    assert not cycle, " → ".join(cycle)


def test_data_flows_one_way():
    """The one exception: W&B has a single home, which publishes the figures as well."""
    exceptions = {("clr.analysis.publish", "clr.training.wandb_mirror")}
    wrong = []
    for module, targets in import_graph().items():
        package = module.split(".")[1] if module.count(".") else ""
        for target in targets:
            other = target.split(".")[1] if target.count(".") else ""
            parts = package in MAY_IMPORT and other in MAY_IMPORT and other != package
            is_exception = (module, target) in exceptions
            if parts and other not in MAY_IMPORT[package] and not is_exception:
                wrong.append(f"{module} imports {target}")
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ("clr/__init__.py", {"clr", "importlib"}),
        ("clr/optim.py", {"torch", "clr"}),
        ("clr/step/*.py", {"torch", "clr"}),
        ("clr/reference.py", {"torch"}),
        ("clr/warmup.py", {"torch", "clr"}),
        ("clr/methods/*.py", {"torch", "clr", "dadaptation", "prodigyopt"}),
        ("clr/geometry/*.py", {"torch", "numpy", "scipy", "clr"}),
    ],
)
def test_optimizer_and_geometry_need_only_torch_numpy_and_scipy(files, allowed):
    for path in tracked(files):
        extra = imported_packages(path) - allowed - STANDARD
        assert not extra, f"{name_of(path)} imports {sorted(extra)}"


def test_optimizer_and_geometry_import_no_other_part_of_the_package():
    allowed = (
        "clr.optim",
        "clr.step",
        "clr.reference",
        "clr.warmup",
        "clr.methods",
        "clr.geometry",
    )
    for module, targets in import_graph().items():
        if module == "clr" or module.startswith(allowed):
            extra = [target for target in targets if not target.startswith(allowed)]
            assert not extra, f"{module} imports {extra}"


def test_only_one_module_knows_each_service():
    wrong = []
    for path in PYTHON:
        if name_of(path).startswith(("tests/", "bench/")):
            continue
        for package in imported_packages(path) & set(ONLY_HOME):
            if not is_in(path, ONLY_HOME[package]):
                wrong.append(f"{name_of(path)} imports {package}; move it to {ONLY_HOME[package]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.pattern)
def test_each_rule_is_written_once(rule):
    wrong = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in PYTHON
        if not name_of(path).startswith("tests/") and not is_in(path, rule.homes)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(rule.pattern, line) and not line.lstrip().startswith("#")
    ]
    assert not wrong, f"use {rule.instead}:\n" + "\n".join(wrong)


def test_nothing_patches_the_import_path():
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in PYTHON
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path"
    ]
    assert not wrong, wrong


def test_no_forked_child_can_run_the_tests_of_its_parent():
    """A child of `os.fork` that raises an error runs the other tests as a second pytest."""
    fork = re.compile(r"\bos\.fork\(")
    wrong = [name_of(path) for path in PYTHON if fork.search(path.read_text())]
    assert not wrong, f"use multiprocessing's context 'fork' in {wrong}"


def test_files_are_short():
    suffixes = ("*.py", "*.js", "*.css", "*.html", "*.sh")
    files = [path for path in tracked(*suffixes) if not name_of(path).startswith("results/")]
    long = {name_of(p): n for p in files if (n := len(p.read_text().splitlines())) > FILE_LINES}
    assert not long, f"more than {FILE_LINES} lines: {long}"


def test_functions_are_short():
    long = [
        f"{name_of(path)}:{function.lineno} {function.name}: {length} lines"
        for path in PYTHON
        for function in functions(path)
        if (length := function.end_lineno - function.lineno + 1) > FUNCTION_LINES
    ]
    assert not long, f"more than {FUNCTION_LINES} lines:\n" + "\n".join(long)


def test_no_code_escapes_the_formatter():
    """`# fmt: skip` is for tables of data: it follows the closing bracket of a literal."""
    wrong = [
        f"{name_of(path)}:{token.start[0]}: {token.line.strip()}"
        for path in PYTHON
        for token in tokenize.generate_tokens(StringIO(path.read_text()).readline)
        if token.type == tokenize.COMMENT and re.search(r"fmt:\s*(skip|off)", token.string)
        if not re.match(r"[\])}]+\s+#", token.line)
    ]
    assert not wrong, "\n".join(wrong)


def test_public_classes_have_different_names():
    classes = {}
    for path in LIBRARY:
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes.setdefault(node.name, []).append(module_of(path))
    twice = {name: modules for name, modules in classes.items() if len(modules) > 1}
    assert not twice, twice


def test_the_package_is_typed():
    assert (ROOT / "clr" / "py.typed").is_file()
