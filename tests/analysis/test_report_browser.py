"""The report in a real browser: on a screen, on a phone, in print, and without JavaScript."""

import base64
import re

import numpy as np
import pandas as pd
import pytest
import report_folder

from clr.analysis.report import interactive, page
from clr.analysis.report.colors import on_dark

browsers = pytest.importorskip("browser", reason="selenium is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (browsers.CHROMIUM and browsers.DRIVER), reason="needs chromium and chromium-driver"
    ),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = report_folder.write(tmp_path_factory.mktemp("results") / "quick")
    path = folder / "report.html"
    path.write_text(page.build(folder), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with browsers.browser() as opened:
        yield opened


def column(browser, table, name):
    """Values of a column from top to bottom."""
    return browser.js(
        """
        const table = document.querySelector(arguments[0]);
        const headings = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
        const i = headings.indexOf(arguments[1]);
        const cells = [...table.tBodies[0].rows].map((row) => row.cells[i]);
        return cells.map((cell) => cell.dataset.order ?? cell.textContent.trim());
        """,
        table,
        name,
    )


def test_it_opens_without_an_error_and_without_network_requests(browser, report):
    browser.open(report)
    for panel in ("figure2-1", "figure4-1", "figure6-3"):
        browser.show(panel)
    assert browser.errors() == []
    assert {re.match(r"\w+", url)[0] for url in browser.requested()} <= {"file", "data", "blob"}


def test_its_security_policy_blocks_network_requests(browser, report):
    browser.open(report)
    refused = """
    const [done] = arguments;
    document.addEventListener("securitypolicyviolation", ({ blockedURI }) => done(blockedURI));
    new Image().src = "http://127.0.0.1:9/picture.png";
    """
    assert browser.driver.execute_async_script(refused) == "http://127.0.0.1:9/picture.png"


def test_verdicts_come_first_and_are_counted(browser, report):
    browser.open(report)
    assert browser.js("return document.querySelector('main > section').id") == "verdicts"
    counts = browser.js(
        "return [...document.querySelectorAll('.counts li')].map((e) => e.innerText)"
    )
    assert [re.sub(r"\W+", " ", count).strip() for count in counts] == [
        "reproduced 1",
        "not reproduced 1",
        "not tested at this scale 1",
    ]
    glance = browser.js(
        "return [...document.querySelectorAll('.glance tbody tr')].map((e) => e.innerText)"
    )
    assert re.split(r"\s*\t\s*", glance[0])[:2] == [
        "scikit-learn's digits · ResNet-18 · batch size 256",
        "✓ reproduced",
    ]
    first = browser.js("return document.querySelector('.rows li').innerText")
    for said in (
        "✓ reproduced",
        "CLR reaches a training loss",
        "by area it is 0.9",
        "0.812",
        "(0.75–0.875)",
        "CLR needs 13 steps, SGD 16.",
    ):
        assert said in first


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.004, 0.2, [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]),
        (0.9, 5.1, [1, 2, 5]),
        (0.002, 12, [0.01, 0.1, 1, 10]),
        (2.15, 3.22, [2.2, 2.4, 2.6, 2.8, 3, 3.2]),
        (2.31, 2.33, [2.31, 2.315, 2.32, 2.325, 2.33]),  # zoomed in
    ],
)
def test_a_logarithmic_axis_has_round_ticks_over_its_whole_length(
    browser, report, start, end, expected
):
    browser.open(report)
    ticks = browser.js(
        "return new Function('cb_data', arguments[0])(arguments[1])",
        interactive.LOG_TICKS,
        {"start": start, "end": end},
    )
    assert ticks == pytest.approx(expected)


def test_plots_replace_the_pictures_and_show_numbers_at_the_pointer(browser, report):
    browser.open(report)
    replaced = browser.pictures("figure:has(.panels)")
    assert len(replaced) >= 3
    assert not any(replaced)
    assert all(browser.pictures("figure:not(:has(.panels))"))
    assert browser.tooltips() == []
    browser.point_at("figure2-1", 0.5, 0.9)  # far below the curves
    (tooltip,) = browser.wait(browser.tooltips)
    curves = pd.read_csv(report.parent / "curves.csv").query("batch_size == 256")
    best = re.escape(f"{curves.loc[curves['best_by_final_loss'], 'learning_rate'].item():g}")
    said = re.fullmatch(
        rf"step (\d+)\nCLR: ([\d.]+) \(([\d.]+) – ([\d.]+)\)\nSGD {best}: [\d.]+ \(.*\)", tooltip
    )
    assert said, tooltip
    step, mean, low, high = int(said[1]), *map(float, said.group(2, 3, 4))
    (left, right), _ = browser.ranges("figure2-1")
    assert abs(step - (left + right) / 2) < 1  # the pointer is in the middle
    losses = report_folder.losses(report.parent, step, batch_size=256)
    assert (mean, low, high) == pytest.approx((losses.mean(), losses.min(), losses.max()), rel=1e-3)


def test_dragging_zooms_and_a_click_on_a_name_hides_its_curve(browser, report):
    browser.open(report)
    browser.show("figure2-1")
    whole = browser.ranges("figure2-1")
    browser.zoom("figure2-1")
    browser.wait(lambda: browser.ranges("figure2-1") != whole)
    (left, right), _ = browser.ranges("figure2-1")
    assert whole[0][0] < left < right < whole[0][1]
    assert browser.visible("figure2-1", "CLR") == [True] * 2  # band and line
    browser.click_legend("figure2-1", "CLR")
    browser.wait(lambda: browser.visible("figure2-1", "CLR") == [False] * 2)
    assert browser.errors() == []


def test_a_click_on_a_heading_sorts_the_sweep_by_its_numbers(browser, report):
    browser.open(report)
    before = [float(mean) for mean in column(browser, "#sweep table", "final training loss")]
    assert len(before) == 10
    assert before != sorted(before)
    for expected in (sorted(before), sorted(before, reverse=True)):
        browser.click("#sweep th:nth-child(7)")
        browser.wait(
            lambda want=expected: (
                [float(m) for m in column(browser, "#sweep table", "final training loss")] == want
            )
        )


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_the_whole_width_and_every_text_has_contrast(browser, report, dark, scripts):
    browser.open(report, width=375, height=800, dark=dark, scripts=scripts)
    assert browser.js("return document.documentElement.scrollWidth") == 375
    contrast, text = browser.worst_contrast()
    assert contrast >= 4.5, text
    paper = browser.js("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(21, 24, 27)" if dark else "rgb(255, 255, 255)")


def test_the_colors_of_a_panel_follow_the_color_scheme(browser, report):
    browser.open(report, dark=True)
    gray = np.asarray(browser.picture("figure2-1"))
    assert np.median(gray) < 40, "the background is not dark"
    assert (gray > 200).sum() > 100, "no light text"
    other = browser.color("figure2-1", "SGD 0.01")
    browser.scheme("light")
    browser.wait(lambda: browser.color("figure2-1", "SGD 0.01") != other)
    assert other == on_dark(browser.color("figure2-1", "SGD 0.01"))
    # The curves are lighter than 60: these pixels are the axis labels, drawn again.
    browser.wait(lambda: (np.asarray(browser.picture("figure2-1")) < 60).sum() > 100)
    assert np.median(browser.picture("figure2-1")) == 255


def test_without_javascript_the_pictures_show(browser, report):
    browser.open(report, scripts=False)
    visible = browser.pictures("figure")
    assert len(visible) >= 3
    assert all(visible)
    assert min(browser.js("return [...document.images].map((e) => e.naturalWidth)")) >= 1000
    assert min(browser.js("return [...document.images].map((e) => e.alt.length)")) > 20
    assert len(column(browser, "#sweep table", "rate")) == 10


def test_in_print_it_shows_the_pictures(browser, report):
    browser.open(report)
    browser.cdp("Emulation.setEmulatedMedia", media="print")
    assert all(browser.pictures("figure"))
    panels = (
        "return [...document.querySelectorAll('.panels')].map((e) => e.getClientRects().length)"
    )
    assert not any(browser.js(panels))
    browser.cdp("Emulation.setEmulatedMedia", media="")
    pdf = base64.b64decode(browser.cdp("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Subtype /Image") >= 3
