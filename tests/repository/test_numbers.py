"""Numbers in README and docs are those of the committed tables that they link to."""

import re

import pytest
import yaml
from markdown_pages import PAGES, ROOT, commands, inline, links
from table_numbers import NUMBER, Quote, quotes

FINDINGS = ROOT / "docs" / "findings.md"
QUOTES = [(page, quote) for page in PAGES for quote in quotes(page)]
IDS = [f"{page.name}-{quote.text}" for page, quote in QUOTES]


@pytest.mark.parametrize(("page", "quote"), QUOTES, ids=IDS)
def test_a_linked_number_is_that_of_its_table(page, quote):
    assert not quote.mistake()


def quote(tmp_path, text, query):
    table = tmp_path / "table.csv"
    table.write_text(
        "optimizer,rate,loss,best\nclr,,0.2604,False\nsgd,0.1,0.5,True\nsgd,1,12.5,False\n"
    )
    return Quote(text, table, query)


@pytest.mark.parametrize(
    ("text", "query", "mistake"),
    [
        ("0.26", "optimizer=clr: loss", ""),
        ("0.27", "optimizer=clr: loss", "0.26"),
        ("0.2600", "optimizer=clr: loss", "0.2604"),
        ("26%", "rate=: loss", ""),
        ("0.5 nats at 0.1", "best=True: loss; rate", ""),
        ("0.5–12.5, 2 rates", "optimizer=sgd: min(loss); max(loss); count", ""),
        ("0.5–12.5", "optimizer=sgd: min(loss)", "has 2 numbers, its link 1"),
        ("1,000", "rate=1: loss", "12.5"),
    ],
)
def test_a_number_that_is_not_in_the_table_is_a_mistake(tmp_path, text, query, mistake):
    found = quote(tmp_path, text, query).mistake()
    assert mistake in found if mistake else not found


def test_a_query_without_a_row_fails(tmp_path):
    with pytest.raises(AssertionError, match=r"0 rows instead of one: table.csv, optimizer=adam"):
        quote(tmp_path, "0.26", "optimizer=adam: loss").mistake()


def learning_rates():
    """The fixed learning rates of all protocols."""
    protocols = [
        yaml.safe_load(path.read_text()) for path in (ROOT / "configs/protocol").glob("*.yaml")
    ]
    tasks = [task for protocol in protocols for task in protocol["tasks"].values()]
    return {float(rate) for task in tasks for rate in task.get("learning_rates", [])}


def test_every_measured_number_of_the_findings_links_to_its_table():
    in_link, bare = False, []
    for token in inline(FINDINGS):
        if token.type == "link_open":
            in_link = bool(token.attrGet("title"))
        elif token.type == "link_close":
            in_link = False
        elif token.type == "text" and not in_link:
            bare += re.findall(rf"(?:{NUMBER.pattern})%?", token.content)
    rates = learning_rates()
    measured = [n for n in bare if n.endswith("%") or ("." in n and float(n) not in rates)]
    assert not measured, f"link these to a table: {measured}"


def trains(command, protocol):
    """Return whether a command of `make` trains the runs of a protocol."""
    target, *words = command.removeprefix("make ").split()
    name = next((word.removeprefix("PROTOCOL=") for word in words if "PROTOCOL=" in word), "")
    return protocol == (f"arena-{name}".removesuffix("-") if target == "arena" else name)


def test_the_findings_name_the_commands_of_each_table_they_link_to():
    folders = {
        link.split("/results/")[1].split("/")[0] for link in links(FINDINGS) if "/results/" in link
    }
    named = commands(FINDINGS)
    missing = {name for name in folders if not any(trains(line, name) for line in named)}
    assert not missing, f"findings.md has no command for {missing}"


def test_readme_has_the_finding_of_the_findings():
    (finding,) = re.findall(r"^\*\*.+?\*\*$", FINDINGS.read_text(), re.M | re.S)[:1]
    assert finding in (ROOT / "README.md").read_text()
