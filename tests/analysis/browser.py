"""Headless Chromium with an open page, and queries of what it shows."""

import io
import json
import shutil
import tempfile
from contextlib import contextmanager

from PIL import Image
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)

# Bokeh's tooltips are in shadow trees, which querySelector does not search.
TOOLTIPS = """
const found = [];
function look(root) {
  for (const e of root.querySelectorAll("*")) {
    if (e.classList.contains("numbers") && e.getClientRects().length) found.push(e.innerText);
    if (e.shadowRoot) look(e.shadowRoot);
  }
}
look(document);
return found;
"""
# Lowest contrast (WCAG 2) of any text with its background, and that text.
CONTRAST = """
const channels = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
  const x = c[i] / 255;
  return sum + weight * (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
}, 0);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const c = channels(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
let worst = [99, ""];
for (const e of document.body.querySelectorAll("*")) {
  const texts = [...e.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
  const own = texts.map((n) => n.data.trim()).join(" ");
  if (!own || !e.getClientRects().length) continue;
  const ink = light(channels(getComputedStyle(e).color));
  const [a, b] = [ink, light(behind(e))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < worst[0]) worst = [contrast, own.slice(0, 60)];
}
return worst;
"""


# View of the plot in the element whose id is the first argument.
PLOT = "const view = [...Bokeh.index].find((v) => v.el.parentElement?.id === arguments[0]);"


class Browser:
    def __init__(self, driver):
        self.driver = driver

    def js(self, script, *args):
        return self.driver.execute_script(script, *args)

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def open(self, page, width=1200, height=900, dark=False, scripts=True):
        """Show the page and wait until it is ready."""
        self.cdp("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.resize(width, height)
        self.scheme("dark" if dark else "light")
        self.requested(), self.errors()  # discards those of the previous page
        self.driver.get(page.resolve().as_uri())
        if scripts:
            self.wait(
                lambda: self.js("return document.documentElement.classList.contains('ready')")
            )

    def resize(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.cdp("Emulation.setDeviceMetricsOverride", **size)

    def scheme(self, name):
        self.cdp(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}]
        )

    def wait(self, condition, seconds=30):
        return WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: condition())

    def click(self, selector):
        element = self.driver.find_element("css selector", selector)
        self.js("arguments[0].scrollIntoView({ block: 'center' })", element)
        element.click()

    def point_at(self, panel, x, y):
        """Move the pointer over a panel, to fractions of the width and height of its frame."""
        element, *offset = self._at(panel, x, y)
        ActionChains(self.driver).move_to_element_with_offset(element, *offset).perform()

    def zoom(self, panel):
        """Drag a box over the middle of a panel."""
        element, *start = self._at(panel, 0.3, 0.3)
        _, *end = self._at(panel, 0.7, 0.7)
        actions = (
            ActionChains(self.driver).move_to_element_with_offset(element, *start).click_and_hold()
        )
        actions.move_to_element_with_offset(element, *end).release().perform()

    def show(self, panel):
        """Scroll to a panel and wait until it is drawn."""
        element = self.driver.find_element("id", panel)
        self.js("arguments[0].scrollIntoView({ block: 'center' })", element)
        self.wait(
            lambda: self.js(
                PLOT + "return view?.has_finished() && view.frame.bbox.width > 0;", panel
            )
        )
        return element

    def _at(self, panel, x, y):
        element = self.show(panel)
        left, top, width, height = self.js(
            PLOT
            + "const { left, top, width, height } = view.frame.bbox;"
            + "return [left, top, width, height];",
            panel,
        )
        size = element.size  # Selenium measures offsets from the center
        return (
            element,
            round(left + x * width - size["width"] / 2),
            round(top + y * height - size["height"] / 2),
        )

    def ranges(self, panel):
        return self.js(
            PLOT + "return [view.model.x_range, view.model.y_range].map((r) => [r.start, r.end]);",
            panel,
        )

    def visible(self, panel, curve):
        """Return whether each part of a curve is visible."""
        own = "const own = view.model.renderers.filter((r) => r.name === arguments[1]);"
        return self.js(f"{PLOT}{own}return own.map((r) => r.visible);", panel, curve)

    def color(self, panel, curve):
        """Color of a curve's line."""
        own = "const own = view.model.renderers.find((r) => r.name === arguments[1]);"
        return self.js(f"{PLOT}{own}return own.glyph.line_color.value;", panel, curve)

    def click_legend(self, panel, name):
        find = """
        const below = (e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])];
        const all = (root) => [...root.querySelectorAll("*")].flatMap(below);
        const named = (e) => e.className === "bk-label" && e.textContent === arguments[1];
        return all(document.getElementById(arguments[0])).find(named);
        """
        self.js(find, panel, name).click()

    def picture(self, panel):
        """Grayscale screenshot of an element."""
        return Image.open(io.BytesIO(self.show(panel).screenshot_as_png)).convert("L")

    def pictures(self, within):
        """Return whether each static picture of these figures is visible."""
        static = "const all = [...document.querySelectorAll(arguments[0] + ' .static')];"
        return self.js(f"{static}return all.map((e) => e.getClientRects().length > 0)", within)

    def errors(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def requested(self):
        """Addresses requested since the page was opened."""
        messages = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return [
            m["params"]["request"]["url"]
            for m in messages
            if m["method"] == "Network.requestWillBeSent"
        ]

    def tooltips(self):
        return self.js(TOOLTIPS)

    def worst_contrast(self):
        return self.js(CONTRAST)


@contextmanager
def browser():
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = Chrome(options, Service(DRIVER))
        driver.get("about:blank")  # instead of a new tab, whose page keeps loading
        try:
            yield Browser(driver)
        finally:
            driver.quit()
