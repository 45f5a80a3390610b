"""README and docs: links resolve, examples run, generated tables and maps are current."""

import re
import runpy
import subprocess
import sys

import pytest
import torch
import yaml
from markdown_pages import LANGUAGES, PAGES, ROOT, anchors, between, blocks, links, tracked

README = ROOT / "README.md"
TABLES = [
    (README, "results/overnight results/cpu --matrix"),
    (ROOT / "docs/results.md", "results/cpu --markdown"),
]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_resolves(page):
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), f"{page.relative_to(ROOT)} links to {link}, which does not exist"
        if anchor:
            known = anchors(target)
            assert anchor in known, f"{link}: no such heading; {target.name} has {sorted(known)}"


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# How `far` from *a* corridor?\n\n## W&B, 2–7: what's new\n")
    assert anchors(page) == {"how-far-from-a-corridor", "wb-27-whats-new"}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_code_blocks_are_fenced_and_name_their_language(page):
    for block in blocks(page):
        first = block.text.splitlines()[0]
        assert block.language in LANGUAGES, f"{block.language!r} of the block that begins: {first}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_a_page_has_one_title(page):
    titles = re.findall(r"^# .+", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    assert len(titles) == 1, titles


def test_docs_index_names_every_page():
    listed = {link.partition("#")[0] for link in links(ROOT / "docs/README.md")}
    pages = {page.name for page in tracked("docs/*.md")} - {"README.md"}
    assert pages <= listed, f"docs/README.md does not list {sorted(pages - listed)}"


def test_readme_and_docs_index_list_the_same_pages():
    linked = {link.partition("#")[0] for link in links(README)}
    pages = {f"docs/{page.name}" for page in tracked("docs/*.md")}
    assert pages <= linked, f"README does not link {sorted(pages - linked)}"


@pytest.mark.parametrize(("page", "arguments"), TABLES, ids=lambda value: str(value)[-12:])
@pytest.mark.slow
def test_tables_of_verdicts_are_the_output_of_their_command(page, arguments, monkeypatch, capsys):
    command = f"scripts/claims.py {arguments}"
    text = between(page, f"{command} -->\n", "\n<!-- End of the table -->")
    monkeypatch.setattr(sys, "argv", command.split())
    monkeypatch.chdir(ROOT)
    try:
        runpy.run_path(str(ROOT / "scripts/claims.py"), run_name="__main__")
    except SystemExit as exit:
        assert not exit.code, f"{command} failed with exit code {exit.code}"
    assert text.strip() == capsys.readouterr().out.strip(), f"update {page.name} by: {command}"


def test_the_rules_were_written_when_the_results_page_says():
    """The order of the commits that docs/results.md names: results, rules, reruns."""
    text = (ROOT / "docs/results.md").read_text()
    named = re.findall(r"`([0-9a-f]{7})`", text)
    rules, quick, cpu, rerun = named
    command = ["git", "log", "--no-walk", "--format=%h %ct %cs", "--abbrev=7", *named]
    log = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if log.returncode:
        pytest.skip("the history of this clone is not complete")
    times = {line.split()[0]: int(line.split()[1]) for line in log.stdout.splitlines()}
    dates = {line.split()[0]: line.split()[2] for line in log.stdout.splitlines()}
    assert max(times[quick], times[cpu]) < times[rules] < times[rerun]
    assert f"on {dates[rules]} (commit `{rules}`)" in text
    assert f"committed on {dates[quick]} (`{quick}`, `{cpu}`)" in text
    claims = yaml.safe_load((ROOT / "configs/claims.yaml").read_text())
    assert claims["converges"]["written"].startswith(dates[rules])
    assert claims["seen"]["quick"]["first"] == dates[quick]
    assert claims["seen"]["cpu"]["first"] == dates[cpu]


def test_examples_run():
    """Python blocks of all pages, with a small model for those that define none."""
    examples = [block for page in PAGES for block in blocks(page) if block.language == "python"]
    assert len(examples) > 2, "README, docs/usage.md and docs/geometry.md have examples"
    for example in examples:
        model = torch.nn.Linear(4, 3)
        names = {
            "model": model,
            "images": torch.ones(5, 4),
            "labels": torch.zeros(5, dtype=torch.int64),
            "loss_function": torch.nn.functional.cross_entropy,
        }
        before = model.weight.detach().clone()
        exec(compile(example.text, str(example.page), "exec"), names)
        if "optimizer" in names and names["model"] is model:
            same = torch.equal(model.weight, before)
            assert not same, f"the example of {example.page.name} trains nothing"


def test_readme_draws_the_repository_as_it_is():
    tree = next(b for b in blocks(README) if "train.py  sweep.py" in b.text).text
    for line in tree.splitlines():
        names, folder = re.split(r" {3,}", line)[0], ROOT
        if names.startswith(("├── ", "└── ")):
            names, folder = names[4:], ROOT / "clr"
        for name in names.split():
            assert (folder / name).exists(), f"README's map names {name}, which does not exist"


def test_readme_maps_every_part_of_the_package():
    tree = next(b for b in blocks(README) if "train.py  sweep.py" in b.text).text
    for init in tracked("clr/*/__init__.py"):
        if init.parent.parent == ROOT / "clr":
            name = f"{init.parent.name}/"
            assert re.search(rf"[─ ] {name}", tree), f"README's map lacks clr/{name}"


def test_protocols_page_lists_every_protocol_and_its_figures():
    page = (ROOT / "docs/protocols.md").read_text()
    for path in tracked("configs/protocol/*.yaml"):
        protocol = yaml.safe_load(path.read_text())
        row = re.search(rf"^\| `{protocol['name']}`.*$", page, re.M)
        assert row, f"docs/protocols.md has no row for the protocol {protocol['name']}"
        listed = row.group().split("|")[3]
        ranges = re.findall(r"(\d)(?:–(\d))?", listed)
        numbers = {n for low, high in ranges for n in range(int(low), int(high or low) + 1)}
        figures = {figure for figure in protocol["figures"] if isinstance(figure, int)}
        assert numbers == figures, f"{protocol['name']}: the page says {listed}"
        has_meter = "corridor_meter" in protocol["figures"]
        assert ("corridor meter" in listed) == has_meter, f"{protocol['name']}: {listed}"
