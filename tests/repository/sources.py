"""The Python sources of the repository, parsed: imports, functions and calls."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from markdown_pages import ROOT, tracked

PYTHON = tracked("*.py")
LIBRARY = [p for p in PYTHON if p.relative_to(ROOT).parts[0] in ("clr", "hydra_plugins")]
PROGRAMS = [p for p in PYTHON if p.relative_to(ROOT).parts[0] not in ("clr", "tests")]


def name_of(path: Path) -> str:
    """The path relative to the repository, for messages."""
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    """The dotted name by which a library file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each import anywhere in the file; name is empty for `import module`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)} has a relative import"
            yield from ((str(node.module), alias.name) for alias in node.names)


def imported_packages(path: Path) -> set[str]:
    """Top-level packages that a file imports."""
    return {module.partition(".")[0] for module, _ in imports(path)}


@cache
def import_graph() -> dict[str, set[str]]:
    """Each library module with the library modules that it imports."""
    known = {module_of(path) for path in LIBRARY}
    graph: dict[str, set[str]] = {}
    for path in LIBRARY:
        found = set()
        for module, name in imports(path):
            target = f"{module}.{name}" if f"{module}.{name}" in known else module
            if target in known:
                found.add(target)
        graph[module_of(path)] = found - {module_of(path)}
    return graph


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """A cycle of the graph, its first node repeated at its end; empty if there is none."""
    finished: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in finished:
            return []
        for following in sorted(graph[node]):
            if cycle := visit(following, [*path, node]):
                return cycle
        finished.add(node)
        return []

    for start in sorted(graph):
        if cycle := visit(start, []):
            return cycle
    return []
