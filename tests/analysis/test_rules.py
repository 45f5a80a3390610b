"""configs/claims.yaml: mistakes in it, and the statement of when its rules were written."""

from datetime import date

import pytest
import yaml
from claim_tables import ROOT

from clr.analysis.verdicts import rules
from clr.errors import UserError

CONTENT = yaml.safe_load((ROOT / "configs" / "claims.yaml").read_text())


def written(**change):
    return {"written": CONTENT["written"] | change}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"quicker": {"figures": [2], "targets": [0.5], "headline": 0.9}},
            "headline=0.9 is not one of quicker.targets",
        ),
        ({"optimiser": "clr"}, "optimiser"),
        ({"window_epochs": "one"}, "one"),
        (written(date="yesterday"), "'yesterday' below `written` is not a date"),
        (written(after={"quick": "2026"}), "'2026' below `written` is not a date"),
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


def test_a_protocol_whose_results_were_known_is_said_not_to_be_judged_by_rules_fixed_in_advance():
    line = rules.provenance_line("quick")
    assert "written on 2026-11-25, after the author had seen results of the protocol quick" in line
    assert "first committed on 2026-11-24" in line
    assert "not fixed in advance" in line


def test_a_protocol_without_runs_by_then_is_said_to_be_judged_by_older_rules():
    line = rules.provenance_line("paper")
    assert line == "The rules were written on 2026-11-25, before any run of the protocol paper."


def test_for_any_other_protocol_the_whole_statement_is_given():
    assert rules.provenance_line("mine") == (
        "The rules were written on 2026-11-25, after the author had seen results of quick and cpu, "
        "and before any run of gpu and paper."
    )


def test_known_results_are_older_than_the_rules_and_every_protocol_exists():
    statement = rules.load().written
    for protocol, first in statement.after.items():
        assert date.fromisoformat(first) <= date.fromisoformat(statement.date), protocol
    for protocol in [*statement.after, *statement.before]:
        assert (ROOT / "configs" / "protocol" / f"{protocol}.yaml").is_file(), protocol
