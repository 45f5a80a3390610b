"""The tables of docs/methods.md."""

from functools import cache

from entry_points import ROOT


@cache
def rows():
    """The cells of each optimizer in all tables of the page, by the name of its config."""
    found, header = {}, []
    for line in (ROOT / "docs/methods.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = []
        elif not header:
            header = cells
        elif header[0] == "config" and not cells[0].startswith("---"):
            row = dict(zip(header, cells, strict=True))
            found.setdefault(row.pop("config").strip("`"), {}).update(row)
    return found
