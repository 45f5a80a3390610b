"""docs/add-an-optimizer.md, followed word for word in a copy of the repository."""

import pandas as pd
import pytest
from followed_page import follow, steps
from markdown_pages import ROOT

PAGE = ROOT / "docs/add-an-optimizer.md"


def test_the_page_has_the_steps_it_promises():
    written = [path for kind, path, _ in steps(PAGE) if kind == "write"]
    assert written == ["../my-methods/my_methods.py", "configs/optimizer/normalized_sgd.yaml"]
    assert len([kind for kind, _, _ in steps(PAGE) if kind == "run"]) == 3
    assert not (ROOT / written[1]).exists(), "a reader would replace it"


@pytest.mark.slow
def test_a_reader_who_follows_the_page_gets_figure_table_and_report(tmp_path):
    clone = tmp_path / "clone"
    outputs = follow(PAGE, clone)
    assert not (ROOT / "configs/optimizer/normalized_sgd.yaml").exists()
    assert "finished: 10 steps" in outputs[0]
    assert "10 runs, 0 completed before" in outputs[1]

    results = tmp_path / "my-results/quick"
    runs = pd.read_csv(results / "runs.csv")
    assert set(runs["status"]) == {"finished"}
    counts = runs["optimizer"].value_counts().to_dict()
    assert counts == {"clr": 2, "sgd": 4, "normalized_sgd": 4}
    curves = pd.read_csv(results / "curves.csv")
    own = curves[curves["optimizer"] == "normalized_sgd"]
    assert own["learning_rate"].tolist() == [0.1, 0.3]
    assert own["final_loss"].notna().all()

    steps_taken = pd.read_csv(results / "steps.csv.gz").merge(runs, on="run_id")
    own = steps_taken[steps_taken["optimizer"] == "normalized_sgd"]
    moved = own["learning_rate_x"] * own["grad_norm_sq"] ** 0.5
    assert moved.tolist() == pytest.approx(own["learning_rate_y"].tolist(), rel=1e-4)

    for suffix in ("png", "pdf", "svg"):
        assert (results / f"figures/figure2.{suffix}").stat().st_size > 1000
    assert "Normalized SGD" in (results / "figures/figure2.svg").read_text()
    assert "normalized_sgd" in (results / "report.html").read_text()
