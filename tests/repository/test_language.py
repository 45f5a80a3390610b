"""Wording of code and documentation: words that were used instead of the terms of the field."""

import ast
import re

from markdown_pages import ROOT, tracked
from sources import PYTHON, name_of, tree

# The pattern of each word, and what to write instead.
TICS = {
    r"\btold\b": "reported, printed, given",
    r"\banew\b": "again",
    r"\bgoes on\b": "resumes, continues",
    r"\bgo on\b": "resume, continue",
    r"\bgoing on\b": "continuing",
    r"\bis none of\b": "is not one of",
    r"(?<!there )\bis no (?!longer\b|more\b)\w+": "is not a",
    r"\bhas none\b": "has no, None",
    r"\bdoors?\b": "entry point",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bso many\b": "N, this number of",
    r"\bheld against\b": "compared with",
    r"\bstands? in\b": "is in",
    r"\boftener\b": "more often",
    r"\bbefalls?\b": "happens to",
    r"\b(made|make|makes|making) (it |them )?again\b": "rerun",
    r"\bno way out\b": "no internet access",
    r"\blest\b": "so that ... not",
    r"colour|\bgrey|\bcentre\b|neighbour|favour|behaviour": "American spelling",
    r"(normal|initial|regular|synchron|summar|serial|optim|recogn)is(e|es|ed|ing|ation)\b": "-ize",
    r"\bdata sets?\b": "dataset",
}
SUFFIXES = ["py", "md", "yaml", "yml", "html", "js", "css", "sh", "toml", "cff", "txt"]
RIDDLES = ("What", "Which", "How", "Where", "All", "Whether")
THIS_FILE = "tests/repository/test_language.py"


def prose(path):
    """Lines of a file, without the code spans of Markdown pages (old names in the changelog)."""
    lines = path.read_text().splitlines()
    return [re.sub(r"`[^`]*`", "`…`", line) if path.suffix == ".md" else line for line in lines]


def findings(path, name):
    return [
        f"{name}:{number}: “{match.group()}” → {instead}: {line.strip()[:110]}"
        for number, line in enumerate(prose(path), 1)
        for pattern, instead in TICS.items()
        if (match := re.search(pattern, line, re.IGNORECASE))
    ]


def test_the_words_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("A run is not\nmade again: it goes on.\nThe `door` of `clr.cli`.\n")
    found = findings(page, "page.md")
    assert len(found) == 2, found


def test_the_old_dialect_is_gone():
    found = []
    for path in tracked("Makefile", *(f"*.{suffix}" for suffix in SUFFIXES)):
        name = str(path.relative_to(ROOT))
        if name != THIS_FILE and not name.startswith("results/"):
            found += findings(path, name)
    assert not found, f"{len(found)} places:\n" + "\n".join(found)


def docstrings(path):
    """Line number and docstring of a module, its classes and its functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(tree(path)):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def test_docstrings_begin_with_a_noun_phrase_or_a_verb():
    riddles = [
        f"{name_of(path)}:{number}: {text.splitlines()[0]}"
        for path in PYTHON
        for number, text in docstrings(path)
        if text.split()[0] in RIDDLES
    ]
    assert not riddles, "\n".join(riddles)


def test_an_assertion_checks_one_condition():
    joined = [
        f"{name_of(path)}:{node.lineno}: {ast.unparse(node.test)}"
        for path in PYTHON
        if name_of(path).startswith("tests/")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert)
        and isinstance(node.test, ast.BoolOp)
        and isinstance(node.test.op, ast.And)
    ]
    assert not joined, "split these:\n" + "\n".join(joined)
