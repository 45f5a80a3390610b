"""The Markdown pages of the repository: their links, headings, code blocks and commands."""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {"bash", "python", "text", "bibtex", "yaml"}


@cache
def tracked(*patterns: str) -> list[Path]:
    """The files that git tracks or would add, in all of the repository or matching `patterns`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in sorted(set(names.split("\0")[:-1])) if (path := ROOT / name).is_file()]


PAGES = tracked("*.md")


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: Path
    language: str  # empty: an indented block, or a fence without a language
    text: str


@cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


@cache
def blocks(page: Path) -> list[Block]:
    code = [token for token in tokens(page) if token.type in ("fence", "code_block")]
    return [Block(page, token.info.strip(), token.content) for token in code]


def inline(page: Path) -> list[Token]:
    return [child for token in tokens(page) for child in token.children or []]


def links(page: Path) -> list[str]:
    """The targets of all links and images."""
    targets = [token.attrGet("href") or token.attrGet("src") for token in inline(page)]
    return [str(target) for target in targets if target]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    pairs = zip(tokens(page), tokens(page)[1:], strict=False)
    headings = [following for token, following in pairs if token.type == "heading_open"]
    texts = ["".join(c.content for c in heading.children or []) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def commands(page: Path) -> list[str]:
    """Shell commands of a page: lines of bash blocks, and code spans that call this project."""
    lines = [
        line
        for block in blocks(page)
        if block.language == "bash"
        for line in block.text.replace("\\\n", " ").splitlines()
    ]
    spans = [token.content for token in inline(page) if token.type == "code_inline"]
    calls = [span for span in spans if re.match(r"(make [\w.]|\.venv/bin/|torchrun |srun )", span)]
    return [line.strip() for line in [*lines, *calls] if line.strip()]


def between(page: Path, begin: str, end: str) -> str:
    """The text of a page between two markers."""
    _, found, rest = page.read_text().partition(begin)
    assert found, f"{page.name} lacks the marker {begin}"
    text, found, _ = rest.partition(end)
    assert found, f"{page.name} lacks the marker {end}"
    return text
