"""Draw the paper's figures from the tables of one protocol: `python scripts/figures.py results/quick`."""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from matplotlib import style as matplotlib_style
from plots import figure1, figure1_paths, figure2, figure3, figure4, figure6, figure9, meter, missing, style, tables

from clr.errors import UserError

# Of formulas, not of runs: drawn for every protocol.
ALWAYS = {"figure1": figure1.draw, "figure1_paths": figure1_paths.draw}
# Figure 5 is drawn as Figure 3, 7 as 2, and 8 as 6: the model or the data is another.
DRAW = {
    "2": figure2.draw,
    "3": figure3.draw,
    "4": figure4.draw,
    "5": figure3.draw,
    "6": figure6.draw,
    "7": figure2.draw,
    "8": figure6.draw,
    "9": figure9.draw,
    "meter": meter.draw,
}


def draw_all(folder: Path) -> tuple[list[Path], list[str]]:
    """Draw Figure 1 and every figure that has runs; the pictures made, and a line for each that lacks runs."""
    figures = tables.read(folder)
    unknown = sorted(set(figures) - set(DRAW))
    if unknown:
        raise UserError(f"{folder / 'figure_runs.csv'} names figure {unknown[0]}, only {', '.join(DRAW)} can be drawn")
    (folder / "figures").mkdir(exist_ok=True)
    paths = []
    # After a reset: a user's own matplotlibrc must not change the pictures.
    with matplotlib_style.context(style.RC, after_reset=True):
        for name, draw in ALWAYS.items():
            paths += style.save(draw(), folder / "figures" / name)
        for name, of_figure in figures.items():
            if of_figure.runs.empty:
                continue
            file = f"figure{name}" if name.isdigit() else name
            paths += style.save(DRAW[name](of_figure), folder / "figures" / file)
    return paths, missing.lines(folder, figures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a protocol's results, such as results/quick")
    gc.disable()  # to search the many small parts of figures for garbage takes a fifth of the time
    try:
        paths, lacking = draw_all(parser.parse_args().folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(*paths, *lacking, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
