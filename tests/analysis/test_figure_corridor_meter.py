"""The meter's figure: what was measured, in numbers worked out by hand, and what it says where measures are missing."""

import numpy as np
import pandas as pd
import pytest
from figure_tables import MEASURES, band, drawing, legend, line, measures, texts, write

from clr.analysis import tables


def test_the_meters_figure_shows_what_was_measured_of_clr_and_of_the_best_rate(tmp_path):
    figure = drawing(write(tmp_path), "corridor_meter")
    steps = [1, 3, 5]
    for ax, column in zip(
        figure.axes, ("learning_rate", "kappa", "turn", "loss", "correction", "fall"), strict=True
    ):
        i = MEASURES.index(column)
        for label, rate, k in (("CLR", None, 1), ("SGD, best rate 0.1", 0.1, 0)):
            drawn = line(ax, label)
            seeds = np.array(
                [[measures(rate, seed, step)[i] for step in steps] for seed in (0, 1, 2)]
            )
            assert drawn.get_xdata().tolist() == steps and drawn.get_ydata() == pytest.approx(
                seeds.mean(axis=0)
            )
            low, high = band(ax, k)
            assert low == pytest.approx(seeds.min(axis=0)) and high == pytest.approx(
                seeds.max(axis=0)
            )
        assert ax.get_yscale() == ("linear" if column == "fall" else "log")
        assert not [drawn for drawn in ax.lines if drawn.get_label().startswith("_other")]
    # 3 is the seeds' mean factor, κ has 2 at step 3; half the turn is a quarter of it
    title = "Corridors have κ = 0. The nearest to one: CLR at step 3 (6), SGD at step 3 (6)"
    assert figure._suptitle.get_text() == title
    assert "the implicit regularisation is 1.5 ‖g‖ with CLR, 1.5 ‖g‖ with SGD." in texts(figure)
    assert legend(figure.axes[0]) == ["CLR", "SGD, best rate 0.1"]


def test_a_meter_of_runs_that_blew_up_at_once_is_an_empty_picture(tmp_path):
    meter = pd.read_parquet(write(tmp_path) / "corridor_meter.parquet")
    meter.assign(kappa=np.nan, turn=np.nan, fall=np.nan).to_parquet(
        tmp_path / "corridor_meter.parquet"
    )
    assert "Nothing was measured" in texts(drawing(tmp_path, "corridor_meter"))


def test_runs_that_were_made_without_the_meter_are_missing_in_its_figure(tmp_path):
    """But for those of the fixed rates that are not the best; the best is measured last."""
    meter = pd.read_parquet(write(tmp_path) / "corridor_meter.parquet")
    meter[meter["run_id"] != "6400"].to_parquet(
        tmp_path / "corridor_meter.parquet"
    )  # CLR's first seed
    figure = drawing(tmp_path, "corridor_meter")
    assert "(partial: 1 of 15 runs missing)" in figure._suptitle.get_text()
    assert line(figure.axes[3], "CLR").get_ydata()[0] == 4  # the loss of seeds 1 and 2
    runs = pd.read_csv(tmp_path / "runs.csv", dtype={"run_id": str})
    meter[meter["run_id"].isin(runs.loc[runs["learning_rate"].isna(), "run_id"])].to_parquet(
        tmp_path / "corridor_meter.parquet"
    )
    figure = drawing(tmp_path, "corridor_meter")
    assert "Not measured yet: SGD, best rate 0.1." in texts(figure) and "partial" not in texts(
        figure
    )
    (tmp_path / "corridor_meter.parquet").unlink()  # as in tables from before there was one
    assert tables.read(tmp_path)["corridor_meter"].runs.empty and "partial" not in texts(
        drawing(tmp_path, 2)
    )
