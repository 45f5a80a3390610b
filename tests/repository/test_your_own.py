"""docs/your-own.md, followed word for word in a copy of the repository."""

import pandas as pd
import pytest
from followed_page import follow, steps
from markdown_pages import ROOT

PAGE = ROOT / "docs/your-own.md"


def written_to_checkout():
    """Files and folders of the page that are in the checkout."""
    files = [path for kind, path, _ in steps(PAGE) if kind == "write"]
    paths = [ROOT / path for path in (*files, "shapes", "results/shapes")]
    paths += [*(ROOT / "runs").glob("shapes-*"), *(ROOT / "data").glob("shapes-*")]
    return [path for path in paths if path.exists()]


def test_the_page_has_the_steps_it_promises():
    written = [path for kind, path, _ in steps(PAGE) if kind == "write"]
    assert len(written) == len(set(written)) == 7
    assert len([kind for kind, _, _ in steps(PAGE) if kind == "run"]) == 4
    assert not written_to_checkout(), "a reader would replace it"


@pytest.mark.slow
def test_a_reader_who_follows_the_page_gets_the_figure(tmp_path):
    clone = tmp_path / "clone"
    outputs = follow(PAGE, clone)
    assert not written_to_checkout()
    assert "finished: 8 steps" in outputs[1]
    assert "finished: 8 steps" in outputs[2]
    assert "14 runs, 0 completed before" in outputs[3]

    results = clone / "results/shapes"
    runs = pd.read_csv(results / "runs.csv")
    assert set(runs["status"]) == {"finished"}
    assert set(runs["model"]) == {"small_net"}
    assert set(runs["data_label"]) == {"Shapes"}
    counts = runs["optimizer"].value_counts().to_dict()
    assert counts == {"clr": 2, "sgd": 6, "sign_sgd": 6}
    assert runs["run_id"].str.startswith("shapes-small_net-b30-").all()
    for suffix in ("png", "pdf", "svg"):
        assert (results / f"figures/figure2.{suffix}").stat().st_size > 1000
    text = (results / "figures/figure2.svg").read_text()
    for shown in ("sign_sgd", "SGD", "CLR", "small_net", "Shapes"):
        assert shown in text, f"the figure does not name {shown}"
