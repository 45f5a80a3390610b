"""The race's figure: ratios worked out by hand, and the ends of curves."""

import numpy as np
import pytest
from figure_tables import band, drawing, edit_parquet, legend, line, roles, texts, write

from clr.analysis.figures.panels import read_tag
from clr.analysis.report import interactive

EPOCHS, FALL = 50, 0.9  # 100 steps; factor of the baseline's loss per step


def race_tables(folder, factor, seeds_factor=1.0, sizes=(64,)):
    """Tables in which CLR's log loss falls `factor` times as fast as that of the best fixed rate.

    The factor of seed 2 is `seeds_factor` times as large.
    """
    write(folder, batch_sizes=sizes, rates=(None, 0.01, 0.1, 0.3), epochs=EPOCHS)

    def fall(steps):
        clr = steps.groupby("run_id")["learning_rate"].transform("nunique") > 1
        speed = np.where(clr, factor, 1.0)
        speed *= np.where(clr & steps["run_id"].str.endswith("2"), seeds_factor, 1.0)
        return steps.assign(loss=FALL ** (speed * (steps["step"] - 1)))

    edit_parquet(folder, "steps", fall)
    return folder


def ends(ax):
    """Labels of the markers at the ends of curves."""
    found = [drawn for drawn in ax.lines if drawn.get_marker() in ("^", "v")]
    return [(drawn.get_marker(), drawn.get_label()) for drawn in found]


CURVE = "batch size 64 (SGD 0.1)"


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_curve_has_the_ratio_of_the_steps_to_each_target(tmp_path, factor):
    race, _ = drawing(race_tables(tmp_path, factor), "race").axes
    ratios = line(race, CURVE).get_ydata()
    # Steps are whole numbers, and the mean over an epoch of two steps lags by one.
    assert ratios[2:] == pytest.approx(1 / factor, rel=0.25)
    assert ratios[-1] == pytest.approx(1 / factor, rel=0.05)


def test_the_target_loss_falls_to_the_right_on_a_logarithmic_axis(tmp_path):
    race, _ = drawing(race_tables(tmp_path, 2.0), "race").axes
    left, right = race.get_xlim()
    assert left > right
    assert race.get_xscale() == race.get_yscale() == "log"
    losses = line(race, CURVE).get_xdata()
    assert np.diff(np.log(losses)) == pytest.approx(np.log(losses[1] / losses[0]))
    assert "CLR leads below" in [text.get_text() for text in race.texts]


def test_the_curve_ends_where_clr_never_gets_there(tmp_path):
    race, headline = drawing(race_tables(tmp_path, 0.5), "race").axes
    # CLR is half way, in the logarithm, when the fixed rate is at its end.
    assert len(line(race, CURVE).get_xdata()) in (9, 10)
    assert ends(race) == [("^", f"{CURVE}: CLR never gets there")]
    assert [marker for marker, _ in ends(headline)] == ["^"]
    (marker,) = [drawn for drawn in race.lines if drawn.get_marker() == "^"]
    assert marker.get_ydata() == [race.get_ylim()[1]]
    assert marker.get_xdata() < line(race, CURVE).get_xdata()[-1]


def test_the_curve_ends_where_the_fixed_rate_never_gets_there(tmp_path):
    race, headline = drawing(race_tables(tmp_path, 2.0), "race").axes
    assert ends(race) == [("v", f"{CURVE}: the best rate of SGD never gets there")]
    assert [marker for marker, _ in ends(headline)] == ["v"]
    (marker,) = [drawn for drawn in race.lines if drawn.get_marker() == "v"]
    assert marker.get_ydata() == [race.get_ylim()[0]]


def test_the_band_is_wider_if_the_seeds_differ(tmp_path):
    same, _ = drawing(race_tables(tmp_path / "same", 2.0), "race").axes
    other, _ = drawing(race_tables(tmp_path / "other", 2.0, seeds_factor=1.2), "race").axes
    low, high = band(same, CURVE)
    assert high == pytest.approx(low)
    low, high = band(other, CURVE)
    assert max(high / low) > 1.1


def test_the_headline_panel_shows_ratios_over_batch_sizes(tmp_path):
    race, headline = drawing(race_tables(tmp_path, 0.95, sizes=(64, 256)), "race").axes
    assert [entry[:14] for entry in legend(race)] == ["batch size 64 ", "batch size 256"]
    assert legend(headline) == ["CIFAR-10, 5,000 images\nResNet-18"]
    shown = {str(bars.get_label()): bars.lines[0] for bars in headline.containers}
    filled = shown["CIFAR-10, 5,000 images, ResNet-18"]
    assert filled.get_xdata().tolist() == [64, 256]
    assert filled.get_ydata() == pytest.approx(1 / 0.95, rel=0.03)  # 0.9 of the way: both arrive
    assert ends(headline) == []
    assert [tick.get_text() for tick in headline.get_xticklabels()] == ["64", "256"]


def test_close_batch_sizes_share_a_label(tmp_path):
    _, headline = drawing(race_tables(tmp_path, 0.95, sizes=(500, 512)), "race").axes
    assert [tick.get_text() for tick in headline.get_xticklabels()] == ["500, 512"]


def test_the_caption_explains_targets_intervals_and_ends(tmp_path):
    caption = texts(drawing(race_tables(tmp_path, 0.5), "race"))
    for part in ("Targets: 20 losses", "▲: from here on CLR never", "95% t interval"):
        assert part in caption
    assert "Lines: mean over the seeds" not in caption


def test_without_fixed_rates_there_is_no_curve(tmp_path):
    race_tables(tmp_path, 2.0)
    runs = (tmp_path / "runs.csv").read_text().splitlines()
    kept = [row for row in runs if ",sgd," not in row]
    (tmp_path / "runs.csv").write_text("\n".join(kept) + "\n")
    race, headline = drawing(tmp_path, "race").axes
    assert "main" not in roles(race)
    assert ends(headline) == []


def test_the_report_has_the_curves_and_their_ends(tmp_path):
    drawn = drawing(race_tables(tmp_path, 0.5), "race")
    shown = interactive.panels(drawn, "race")
    assert len(shown) == 2
    assert "triangle" in str(shown[0].item)
    assert {read_tag(part)[0] for part in drawn.axes[0].lines} >= {"main", "end"}
