"""docs/geometry.md: its links resolve, the tests that it names exist, and its example runs."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "geometry.md"
LINKS = re.findall(r"\[([^]]+)\]\(([^)]+)\)", PAGE.read_text())


def test_every_link_resolves_and_every_named_test_exists():
    named = [name for name, _ in LINKS if name.startswith("test_")]
    assert len(named) > 20
    assert len(named) == len(set(named)), "a test is named twice"
    for name, target in LINKS:
        file = PAGE.parent / target
        assert file.is_file(), target
        if name.startswith("test_"):
            functions = [
                node.name
                for node in ast.parse(file.read_text()).body
                if isinstance(node, ast.FunctionDef)
            ]
            assert name in functions, name


def test_every_statement_names_its_test():
    statements = (
        PAGE.read_text()
        .split("## Statements and proofs")[1]
        .split("## Paths")[0]
        .split("\n\n**")[1:]
    )
    assert len(statements) > 10
    for statement in statements:
        assert "→ [test_" in statement, statement


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(example, {})
