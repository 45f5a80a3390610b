"""Hooks of mkdocs: pages for files outside of docs/, and for the API.

A page of docs/ may link to any file of the repository, as on GitHub. Files that are linked,
directly or by a linked page, become part of the site in the folder repository/: Markdown as a page,
source code as a page with the code, everything else as it is.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
ALSO = [ROOT / "CONTRIBUTING.md"]  # pages that the navigation lists and no page of docs/ links
LANGUAGES = {".py": "python", ".yaml": "yaml", ".cff": "yaml", "": "text"}
# Titles of the API pages, and the packages and modules whose docstrings they show.
API = {
    "optimizer": ("Optimizer", ["clr.optim", "clr.warmup", "clr/methods", "clr.reference"]),
    "geometry": ("Geometry", ["clr/geometry"]),
    "data": ("Data", ["clr/data"]),
    "training": ("Training", ["clr.config", "clr/training"]),
    "runs": ("Runs", ["clr/runs"]),
    "sweeps": ("Sweeps", ["clr/sweeps"]),
    "analysis": ("Analysis", ["clr/analysis"]),
}
# A fence, a code span, or the target of a link or image, of which only the last is changed.
LINK = re.compile(
    r"(?P<code>^```.*?^```$|`[^`\n]*`)|(?<=\]\()(?P<target>[^)\s]+)(?=(?: \"[^\"\n]*\")?\))",
    re.M | re.S,
)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of repository files and of the API."""
    known = set(DOCS.rglob("*.md"))
    found = [*ALSO, *(path for page in known for path in linked_files(page))]
    while found:
        if (path := found.pop()) not in known:
            known.add(path)
            files.append(generated(path, config))
            if path.suffix == ".md":
                found += linked_files(path)
    for name, (title, sources) in API.items():
        content = f"# {title}\n\n" + "\n\n".join(f"::: {module}" for module in modules(sources))
        files.append(File.generated(config, f"api/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point relative links at the pages of the site."""
    uri = page.file.src_uri
    source = origin(uri)
    if source is None or source.suffix != ".md":
        return markdown
    return with_site_links(markdown, source, uri)


def with_site_links(markdown: str, source: Path, uri: str) -> str:
    """The text of the page `source` with links that hold from its place `uri` in the site."""

    def replace(match: re.Match[str]) -> str:
        target = match["target"]
        path = None if target is None else file_of(target, source)
        if path is None:
            return match.group()
        relative = os.path.relpath(uri_of(path), os.path.dirname(uri) or ".")
        _, mark, anchor = target.partition("#")
        return relative + mark + anchor

    return LINK.sub(replace, markdown)


def linked_files(page: Path) -> list[Path]:
    """The files that a page links to."""
    targets = [match["target"] for match in LINK.finditer(page.read_text()) if match["target"]]
    return [path for target in targets if (path := file_of(target, page)) is not None]


def file_of(target: str, page: Path) -> Path | None:
    """The file that a relative link of a page means; None for other links and missing files."""
    name = target.partition("#")[0]
    if not name or re.match(r"[a-z]+:", name):
        return None
    path = Path(os.path.normpath(page.parent / name))
    return path if path.is_file() and path.is_relative_to(ROOT) else None


def uri_of(path: Path) -> str:
    """The place of a file in the sources of the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = f"repository/{path.relative_to(ROOT).as_posix()}"
    return f"{name}.md" if path.suffix in LANGUAGES else name


def origin(uri: str) -> Path | None:
    """The Markdown or source file behind a page; None for pages of the API."""
    if uri.startswith("api/"):
        return None
    name = uri.removeprefix("repository/")
    if name == uri:
        return DOCS / uri
    path = ROOT / name
    return path if path.is_file() else ROOT / name.removesuffix(".md")


def generated(path: Path, config: Any) -> File:
    """A file of the repository as a file of the site."""
    if path.suffix in LANGUAGES:
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text()
        content = f"# {name}\n\n````{LANGUAGES[path.suffix]}\n{text}\n````\n"
        return File.generated(config, uri_of(path), content=content)
    return File.generated(config, uri_of(path), abs_src_path=str(path))


def modules(sources: list[str]) -> list[str]:
    """Dotted names: of a module as given, of all modules in a folder such as clr/data."""
    names = []
    for source in sources:
        if "/" not in source:
            names.append(source)
            continue
        for path in sorted((ROOT / source).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names
