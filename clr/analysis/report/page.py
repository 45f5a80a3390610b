"""The report as one HTML file, with all that it needs in it."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from pathlib import Path

import itables
import pandas as pd
import yaml
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clr.analysis.figures.draw import DRAW
from clr.analysis.report import pictures, summary
from clr.analysis.verdicts import Verdict
from clr.files import write_text


def write(folder: Path) -> Path:
    """Write `folder`/report.html, from the tables, figures and claims in `folder`."""
    path = folder / "report.html"
    write_text(build(folder, DRAW), path)
    return path


def build(folder: Path, draw: pictures.Draw) -> str:
    """The page of a protocol's results; the same tables and pictures give the same page.

    `draw` makes the figures that are drawn from runs, by their numbers. UserError if a table or a picture is missing.
    """
    claims, runs = summary.verdicts(folder), summary.made(folder)
    shown = pictures.pictures(folder, draw)
    counts = Counter(row["verdict"] for row in claims)
    live = [panel for picture in shown for panel in picture.panels]
    protocol = json.loads((folder / "protocol.json").read_text())
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.policies[
        "json.dumps_kwargs"
    ] = {}  # not sorted: Bokeh reads what a key defines before others refer to it
    templates.filters["short"] = lambda number: f"{float(number):.3g}".replace("inf", "∞")
    return templates.get_template("report.html").render(
        protocol=protocol,
        config=yaml.safe_dump(
            protocol, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
        ),
        counts=[(verdict, counts[verdict]) for verdict in Verdict],
        claims=summary.by_claim(claims),
        scopes=summary.by_scope(claims),
        pictures=shown,
        elsewhere=pictures.elsewhere(folder),
        sweep=summary.configurations(pd.read_csv(folder / "runs.csv", dtype={"run_id": str})),
        assumptions=Markup(summary.assumptions()),
        compared=summary.compared(folder),
        comparison=pictures.comparison(folder),
        provenance=summary.provenance(runs),
        runs=runs,
        whole_command=summary.whole_command(folder, runs),
        curves=[panel.item for panel in live],
        on_dark={color: dark for panel in live for color, dark in panel.on_dark.items()},
        bokeh=_packed("\n".join(Resources("inline", components=["bokeh"]).js_raw)),
        datatables=_packed((Path(itables.__file__).parent / "html" / "dt_bundle.js").read_text()),
    )


def _packed(source: str) -> str:
    """Compressed, for a data element of the page: templates/report.js unpacks it. No date, for equal pages."""
    return base64.b64encode(gzip.compress(source.encode(), mtime=0)).decode()
