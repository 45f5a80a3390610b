"""Single steps behind the curves: the numbers of the first seed, in the picture and the report."""

import numpy as np
import pandas as pd
import pytest
from figure_tables import drawing, edit_parquet, legend, line, roles, texts, write

from clr.analysis.figures.single_steps import MAX_VERTICES, envelope
from clr.analysis.report import interactive
from clr.analysis.report.plot_curves import plot_curves

EPOCHS = 50  # 100 steps: a point summarizes two
STEPS = np.arange(1, 101)
SGD = "SGD 0.1, single steps"


def alternate(steps):
    """CLR's losses and rates alternate, in a phase that depends on the seed."""
    own = steps["learning_rate"] != 0.1
    odd = (steps["step"] + steps["run_id"].astype(int)) % 2 == 1
    factor = np.where(own & odd, 2.0, 1.0)
    return steps.assign(loss=factor * 0.97 ** steps["step"], learning_rate=factor * 0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("long") / "quick", rates=(None, 0.1), epochs=EPOCHS)
    edit_parquet(folder, "steps", alternate)
    return folder


@pytest.mark.parametrize(("number", "divisor"), [(2, 1), (7, 1), (6, 2), (8, 2)])
def test_the_single_steps_of_the_first_seed_are_behind_both_main_curves(folder, number, divisor):
    ax = drawing(folder, number).axes[0]
    single = line(ax, "CLR, single steps")
    assert single.get_xdata() == pytest.approx(STEPS / divisor)
    assert single.get_ydata() == pytest.approx(np.where(STEPS % 2, 2, 1) * 0.97**STEPS)
    assert line(ax, SGD).get_ydata() == pytest.approx(0.97**STEPS)
    assert single.get_zorder() < line(ax, "CLR").get_zorder()
    assert single.get_color() == line(ax, "CLR").get_color()
    assert not any("single" in entry for entry in legend(ax))


@pytest.mark.parametrize("number", [3, 5, 9])
def test_figures_of_batch_sizes_have_the_single_steps_of_each(folder, number):
    ax = drawing(folder, number).axes[0]
    mains = [drawn.get_label() for drawn in ax.lines if not drawn.get_label().endswith("steps")]
    assert roles(ax).count("step") == len(mains)
    for label in mains:
        single = line(ax, f"{label}, single steps")
        assert single.get_xdata() == pytest.approx(STEPS / 2)
        assert single.get_color() == line(ax, label).get_color()


def test_figure_4_shows_the_alternation_that_the_median_hides(folder):
    ax = drawing(folder, 4).axes[0]
    assert line(ax, "CLR").get_ydata() == pytest.approx(0.15)
    assert line(ax, "CLR, single steps").get_ydata() == pytest.approx(np.where(STEPS % 2, 0.2, 0.1))
    low, high = ax.get_ylim()
    assert low < 0.1
    assert high > 0.2
    assert SGD not in [drawn.get_label() for drawn in ax.lines]


@pytest.mark.parametrize("number", [2, 3, 4, 6, 9])
def test_the_caption_says_what_the_faint_lines_are(folder, tables, number):
    assert "Faint: the single steps of the first seed." in texts(drawing(folder, number))
    if number != 6:  # there a point is the mean of an epoch, which has two steps
        assert "Faint" not in texts(drawing(tables, number))
        assert "step" not in roles(drawing(tables, number).axes[0])


def test_a_single_outlier_does_not_stretch_the_axis(folder, tmp_path):
    def spike(steps):
        first = (steps["run_id"] == "6400") & (steps["step"] == 50)
        return alternate(steps).assign(learning_rate=lambda t: t["learning_rate"].mask(first, 1e9))

    # 250 steps, because one of six does not move their median.
    write(tmp_path, rates=(None, 0.1), epochs=125)
    edit_parquet(tmp_path, "steps", spike)
    with_outlier, without = (drawing(each, 9).axes[0].get_ylim()[1] for each in (tmp_path, folder))
    assert with_outlier < 2 * without


def test_a_long_run_keeps_the_lowest_and_the_highest_step_of_each_part(folder):
    values = pd.Series(np.random.default_rng(0).uniform(size=10_000), index=np.arange(10_000) + 1)
    values.iloc[[777, 5000]] = 5.0, -5.0
    kept = envelope(values)
    assert len(kept) == MAX_VERTICES
    assert kept.loc[778] == 5
    assert kept.loc[5001] == -5
    assert kept.index.is_monotonic_increasing
    assert (kept == values[kept.index]).all()
    # Parts of 20 steps, with two steps of each.
    assert np.bincount((kept.index - 1) // 20).tolist() == [2] * 500
    assert envelope(values[:MAX_VERTICES]).equals(values[:MAX_VERTICES])


def test_the_caption_says_that_a_long_run_is_thinned_out(tmp_path):
    write(tmp_path, batch_sizes=(64,), rates=(None,), epochs=MAX_VERTICES // 2 + 1)
    edit_parquet(tmp_path, "steps", lambda steps: steps.assign(loss=1.0))
    assert "of more than 1000 steps only the lowest and the highest" in texts(drawing(tmp_path, 2))


def test_the_report_shows_the_single_steps_with_their_curve(folder):
    drawn = drawing(folder, 2)
    curves = {curve.name: curve for curve in plot_curves(drawn.axes[0])}
    single = curves["CLR, single steps"]
    assert single.label == "CLR"  # one entry of the legend hides both
    assert single.points["mean"].tolist() == pytest.approx(
        (np.where(STEPS % 2, 2, 1) * 0.97**STEPS).tolist()
    )
    assert single.alpha < curves["CLR"].alpha == 1
    assert interactive.panels(drawn, "figure2")
