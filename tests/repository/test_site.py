"""The site of make docs: built without a warning, complete, and independent of the network."""

import json
import os
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_pages import ROOT, blocks, tokens, tracked

import clr.geometry

pytestmark = pytest.mark.slow

EXTERNAL = ("https://", "http://", "//")
COUNTED = ("table", "tr", "li", "blockquote")


class Page(HTMLParser):
    """A page of the site: its links, resources and anchors, and the elements of its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.anchors: set[str] = set()
        self.elements: Counter[str] = Counter()
        self._in_text = False
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        resource = given.get("href") if tag == "link" else given.get("src")
        if tag in ("link", "script", "img", "iframe") and resource:
            self.resources.append(resource)
        self._in_text |= tag == "article"
        if self._in_text:
            self.elements[tag] += 1

    def handle_endtag(self, tag):
        self._in_text &= tag != "article"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site. Each warning would be an error."""
    pytest.importorskip("mkdocs", reason="installed by make test")
    folder = tmp_path_factory.mktemp("site")
    options = ["--strict", "--config-file", "website/mkdocs.yml", "--site-dir", folder]
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *map(str, options)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_link_of_the_site_resolves(site, pages):
    broken = []
    for path, page in pages.items():
        for link in (*page.links, *page.resources):
            if path.name == "404.html" or link.startswith((*EXTERNAL, "mailto:", "data:")):
                continue
            name, _, anchor = link.partition("#")
            target = path if not name else Path(os.path.normpath(path.parent / name))
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                broken.append(f"{path.relative_to(site)} links to {link}")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                broken.append(f"{path.relative_to(site)}: {link} has no such anchor")
    assert not broken, "\n".join(sorted(set(broken)))


def test_the_site_needs_no_network(site, pages):
    loaded = {r for page in pages.values() for r in page.resources if r.startswith(EXTERNAL)}
    assert not loaded
    for path in site.rglob("*.css"):
        assert "url(http" not in path.read_text(), path
        assert "@import" not in path.read_text(), path


@pytest.mark.parametrize("page", tracked("docs/*.md"), ids=lambda page: page.name)
def test_a_page_has_the_lists_tables_and_code_of_its_markdown(site, pages, page):
    """Markdown of mkdocs differs from GitHub's, as in lists that follow a line of text."""
    name = "index.html" if page.name == "README.md" else f"{page.stem}.html"
    built = pages[site / name].elements
    written = Counter(token.tag for token in tokens(page) if token.type.endswith("_open"))
    for tag in COUNTED:
        assert built[tag] == written[tag], tag
    assert built["pre"] == len(blocks(page))


def test_repository_files_that_are_linked_are_pages(site):
    for name in ("results/DICTIONARY.html", "clr/config.py.html", "configs/claims.yaml.html"):
        assert (site / "repository" / name).is_file(), name
    code = (site / "repository/clr/config.py.html").read_text()
    assert "WandbConfig" in code
    image = "results/quick/figures/figure1.png"
    assert (site / "repository" / image).read_bytes() == (ROOT / image).read_bytes()


def test_the_api_pages_have_every_public_name(site, pages):
    optimizer = pages[site / "api/optimizer.html"].anchors
    assert {
        "clr.optim.CLR",
        "clr.optim.CLR.step",
        "clr.warmup.CLRWarmup",
        "clr.methods.momo.MoMo",
    } <= optimizer
    geometry = {anchor.rpartition(".")[2] for anchor in pages[site / "api/geometry.html"].anchors}
    assert set(clr.geometry.__all__) <= geometry


def test_the_search_finds_every_page(site):
    index = json.loads((site / "search/search_index.json").read_text())
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    names = {f"{path.stem}.html" for path in tracked("docs/*.md")} - {"README.html"}
    assert names <= found, names - found
