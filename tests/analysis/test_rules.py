"""configs/claims.yaml: mistakes in it, and when each rule was written."""

import pytest
import yaml
from claim_tables import ROOT

from clr.analysis.verdicts import rules
from clr.errors import UserError

CONTENT = yaml.safe_load((ROOT / "configs" / "claims.yaml").read_text())


def changed(section, **change):
    return {section: CONTENT[section] | change}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("quicker", headline=0.91), r"headline=0.91 is not a multiple of 1/20 up to 1"),
        (changed("quicker", targets=0), r"headline=0.9 is not a multiple"),
        (changed("adapts", factor=2.0), "factor"),
        ({"optimiser": "clr"}, "optimiser"),
        ({"window_epochs": "one"}, "one"),
        (changed("cap", written="yesterday"), "'yesterday' is not a date"),
        (changed("interval", written="2026"), "'2026' is not a date; write it as 2026-01-31"),
        (changed("seen", quick={"first": "2026-13-01"}), "'2026-13-01' is not a date"),
    ],
)
def test_a_mistake_in_the_rules_is_named(tmp_path, change, message):
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(CONTENT | change))
    with pytest.raises(UserError, match=message):
        rules.load(tmp_path / "claims.yaml")


@pytest.mark.parametrize("text", ["quicker: [", "\x00", "- 1\n- 2\n"])
def test_rules_that_are_not_yaml_are_a_users_mistake(tmp_path, text):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(UserError, match=r"claims\.yaml"):
        rules.load(tmp_path / "claims.yaml")


def dated(written, first, **change):
    """The rules with these dates of `quicker` and of the first results of quick."""
    own = rules.load()
    own.quicker.written = own.interval.written = written
    own.seen = {"quick": rules.Seen(first=first, **change)}
    return own


@pytest.mark.parametrize(
    ("written", "first", "order"),
    [
        ("2026-01-02", "2026-01-01", "after"),
        ("2026-01-01", "2026-01-02", "before"),
        ("2026-01-02", "2026-01-02", "after"),  # the order within the day is unknown
        ("2026-01-02 10:00", "2026-01-02", "after"),
        ("2026-01-02", "2026-01-02 10:00", "after"),
        ("2026-01-02 09:00", "2026-01-02 10:00", "before"),
        ("2026-01-02 10:00", "2026-01-02 10:00", "after"),
    ],
)
def test_a_rule_says_whether_results_had_been_seen_when_it_was_written(written, first, order):
    line = rules.provenance_line("quicker", "quick", dated(written, first))
    event = f"the author first saw results of the protocol quick ({first})"
    assert line == f"written on {written}, {order} {event}"


def test_a_rule_says_how_much_had_been_seen():
    line = rules.provenance_line(
        "quicker", "quick", dated("2026-01-02", "2026-01-01", extent="one run of two")
    )
    assert line.endswith("results of the protocol quick (2026-01-01, one run of two)")


def test_a_claim_that_hangs_on_the_interval_gives_its_date_as_well():
    own = dated("2026-01-03", "2026-01-02")
    own.converges.written = own.cap.written = "2026-01-01"
    line = rules.provenance_line("converges", "quick", own)
    assert line.startswith("written on 2026-01-01, before the author first saw")
    assert line.endswith("; its interval was written on 2026-01-03, after that")
    assert "interval" not in rules.provenance_line("cap", "quick", own)
    assert rules.provenance_line("converges", "paper", own) == (
        "written on 2026-01-01, its interval on 2026-01-03, before any run of the protocol paper"
    )


def test_every_protocol_whose_results_were_seen_exists():
    for protocol in rules.load().seen:
        assert (ROOT / "configs" / "protocol" / f"{protocol}.yaml").is_file(), protocol


def test_every_protocol_with_committed_verdicts_is_listed_as_seen():
    committed = {path.parent.name for path in (ROOT / "results").glob("*/claims.csv")}
    assert committed <= set(rules.load().seen)
