"""The report: one HTML file that contains everything it needs."""

from __future__ import annotations

import base64
import gzip
import math
from collections import Counter
from pathlib import Path
from typing import Any

import itables
import yaml
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clr.analysis import tables
from clr.analysis.report import arena, claims, pictures, summary
from clr.analysis.verdicts import Verdict
from clr.files import write_text
from clr.runs.tables import Results


def write(folder: Path) -> Path:
    """Write `folder`/report.html from the tables, figures and verdicts in `folder`."""
    path = folder / "report.html"
    write_text(build(folder), path)
    return path


def build(folder: Path) -> str:
    """HTML of the report; the same tables and pictures give the same page.

    Raises:
        UserError: if a table or a picture is missing or damaged.
    """
    results = tables.read_checked(folder)
    only_arena = set(results.figure_runs["figure"]) == {tables.ARENA}
    rows = [] if only_arena else claims.claim_rows(folder)
    counts = Counter(row["verdict"] for row in rows)
    content = {
        "counts": [(verdict, counts[verdict]) for verdict in Verdict],
        "claims": claims.by_claim(rows),
        "scopes": claims.by_scope(rows),
        "assumptions": Markup(summary.assumptions()),
        "arena": arena.arena_html(folder, results),
        "compared": summary.compared(folder),
        "comparison": pictures.read_comparison(folder),
        **_protocol(folder, results),
        **_figures(folder, results),
        "bokeh": _packed("\n".join(Resources("inline", components=["bokeh"]).js_raw)),
        "datatables": _packed((Path(itables.__file__).parent / "html/dt_bundle.js").read_text()),
    }
    return _templates().get_template("report.html").render(content)


def _protocol(folder: Path, results: Results) -> dict[str, Any]:
    records = summary.with_commands(folder, results.records)
    protocol = results.protocol
    style: dict[str, Any] = {"allow_unicode": True, "default_flow_style": None, "width": 100}
    return {
        "protocol": protocol,
        "config": yaml.safe_dump(protocol, sort_keys=False, **style),
        "sweep": summary.configurations(tables.without_arena(results)),
        "provenance": summary.provenance(records),
        "seconds": summary.total_seconds(records),
        "runs": records,
        "whole_command": summary.whole_command(folder, records),
    }


def _figures(folder: Path, results: Results) -> dict[str, Any]:
    figures = tables.by_figure(results)
    shown = pictures.read_pictures(folder, figures)
    interactive = [panel for picture in shown for panel in picture.panels]
    changed = {color: dark for panel in interactive for color, dark in panel.on_dark.items()}
    return {
        "pictures": shown,
        "absent": pictures.absent_figures(folder, figures),
        "plots": {"items": [panel.item for panel in interactive], "dark": changed},
    }


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Keys keep their order, because Bokeh reads definitions before references to them.
    templates.policies["json.dumps_kwargs"] = {}
    templates.filters["number"] = _number
    return templates


def _number(value: float | None, digits: str) -> str:
    """A number in a format such as "%.3g"; a missing one is a dash, an infinite one a word."""
    if value is None or math.isnan(value):
        return "–"
    return digits % value if math.isfinite(value) else "diverged"


def _packed(source: str) -> str:
    """Compress a script for a data element that templates/report.js unpacks; without a date."""
    return base64.b64encode(gzip.compress(source.encode(), mtime=0)).decode()
