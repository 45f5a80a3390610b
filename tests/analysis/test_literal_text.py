"""Names with characters that mathtext, Matplotlib's legends or HTML would interpret."""

import re
import warnings
from html.parser import HTMLParser

import pandas as pd
import pytest
from figure_tables import drawing, edit_runs, legend, texts, write
from matplotlib.text import Text as Artist
from PIL import Image

from clr.analysis.figures import style
from clr.analysis.report import interactive

NAMES = [
    "a $x_1$ b $y$",
    "$",
    "_hidden",
    "_other sgd 0.3",
    "<b>&amp;</b>",
    r"\frac{1}{2}",
    "{braces} %s %(a)s",
    "日本語 データ",
    "🦊 fox",
    "null",
    "nan",
    "True",
    "1e5",
    "Käfer & Söhne",
    "'\"`",
]


@pytest.fixture(params=NAMES)
def named(request, tmp_path):
    """A name, and tables in which the data and an optimizer other than CLR have it."""
    edit_runs(write(tmp_path), lambda runs: runs["seed"] >= 0, data_label=request.param)
    edit_runs(tmp_path, lambda runs: runs["optimizer"] == "sgd", optimizer=request.param)
    return request.param, tmp_path


@pytest.mark.slow
def test_a_name_is_shown_literally_in_title_caption_and_legend(named):
    name, folder = named
    figure = drawing(folder, 4)
    assert name in figure.axes[0].get_title()
    assert " ".join(name.split()) in texts(figure)
    entries = [f"{name}, best rate 0.1", f"{name}, others: 0.01–0.3", f"{name}, diverged: 1"]
    assert legend(drawing(folder, 2).axes[0])[1:] == entries


@pytest.mark.parametrize("name", ["a $x_1$ b $y$", "🦊 日本", "_<b>&"])
@pytest.mark.slow
def test_a_name_does_not_stop_any_file_format_and_is_not_parsed_as_math(tmp_path, name):
    edit_runs(write(tmp_path), lambda runs: runs["seed"] >= 0, data_label=name)
    figure = drawing(tmp_path, 4)
    longest = max(name.split(), key=len)
    named = [text for text in figure.findobj(Artist) if longest in text.get_text()]
    assert len(named) == 2  # the panel's title and the caption
    assert not any(text.get_parse_math() for text in named)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png, _, svg = style.save(figure, tmp_path / "four")
    with Image.open(png) as picture:
        assert name in picture.text["Description"]
    assert "mathtext" not in svg.read_text(encoding="utf-8")


class Text(HTMLParser):
    """Text of an HTML fragment, with the tags that it contains."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(html)

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


@pytest.mark.slow
def test_tooltips_show_a_name_literally(named):
    name, folder = named
    (losses, _) = interactive.panels(drawing(folder, 2), "figure2")

    tooltips = [tool["attributes"]["tooltips"] for tool in _hover_tools(losses.item)]
    other = [tooltip for tooltip in tooltips if " 0.3: @mean" in tooltip]
    assert len(other) == 1
    shown = Text(other[0])
    assert f"{name} 0.3: @mean" in shown.text
    assert set(shown.tags) == {"div", "br"}
    # Bokeh replaces $name and @column; the name itself must not contain either.
    assert re.findall(r"[$@]\w+", other[0]) == ["@x", "@mean"]


def _hover_tools(item):
    """The hover tools in Bokeh's JSON."""
    if isinstance(item, dict):
        if item.get("name") == "HoverTool":
            yield item
        for value in item.values():
            yield from _hover_tools(value)
    elif isinstance(item, list):
        for value in item:
            yield from _hover_tools(value)


def test_a_data_set_that_looks_like_a_missing_value_keeps_its_runs(tmp_path):
    edit_runs(write(tmp_path), lambda runs: runs["seed"] >= 0, dataset="null", data_label="NA")
    assert pd.read_csv(tmp_path / "runs.csv")["dataset"].isna().all()
    assert "NA · ResNet-18" in texts(drawing(tmp_path, 2))
