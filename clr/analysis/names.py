"""Display names of optimizers, models, figures and claims."""

from __future__ import annotations

import re

from clr.configured_optimizers import method_names, read_method

MODELS = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
}
CLAIM_NAMES = {
    "converges": "converges",
    "quicker": "faster than the best fixed rate",
    "adapts": "rate adapts",
    "cap": "reaches its cap on ImageNet only",
}


def display_name(name: object) -> str:
    """Display name of a model or an optimizer (its config's title); others stay as they are."""
    key = str(name)
    title = read_method(key).title if key in method_names() else None
    return title or MODELS.get(key, key)


def figure_file(figure: object) -> str:
    """Stem of a figure's files: `figure2` for 2, and `corridor_meter` for itself."""
    return f"figure{figure}" if str(figure).isdigit() else str(figure)


def figure_name(figure: object) -> str:
    """Display name of a figure, by its key or the stem of its files.

    "Figure 2" for 2 and `figure2`, "Figure 1, paths" for `figure1_paths`, "Corridor meter" for
    `corridor_meter`.
    """
    stem = figure_file(figure)
    numbered = re.fullmatch(r"figure(\d+)(?:_(\w+))?", stem)
    if numbered is None:
        return stem.replace("_", " ").capitalize()
    number, part = numbered.groups()
    return f"Figure {number}, {part.replace('_', ' ')}" if part else f"Figure {number}"


def figure_order(stem: str) -> tuple[float, str]:
    """Sort key of figure files: the paper's figures by number, then the others by name."""
    numbered = re.match(r"figure(\d+)", stem)
    return (int(numbered[1]), stem) if numbered else (float("inf"), stem)


def claim_name(claim: object) -> str:
    """Display name of a claim; a claim that is not in `CLAIM_NAMES` is shown as it is."""
    return CLAIM_NAMES.get(str(claim), str(claim))
