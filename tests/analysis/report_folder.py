"""A protocol's results with all that the report reads: the committed tables of quick, its figures and some claims."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from figure_tables import ROOT

from clr.analysis.figures import draw as figures

CLAIMS = [
    {
        "claim": "quicker than the best fixed rate",
        "figure": "2, 6",
        "statement": "CLR reaches a training loss of 0.5 in fewer steps than the best fixed rate",
        "data": "scikit-learn's digits",
        "model": "resnet18",
        "batch_size": "256",
        "baseline": "SGD at 0.1, the lowest final training loss",
        "statistic": "steps to a training loss of 0.5, CLR over SGD",
        "ratio": "0.8125",
        "ratio_low": "0.75",
        "ratio_high": "0.875",
        "rule": "reproduced if the whole interval lies below 1",
        "verdict": "reproduced",
        "by_numbers": "reproduced",
        "reason": "CLR needs 13 steps, SGD 16.",
        "sensitivity": "by area it is 0.9",
    },
    {
        "claim": "quicker than the best fixed rate",
        "figure": "6",
        "statement": "CLR reaches a training loss of 0.5 in fewer steps than the best fixed rate",
        "data": "scikit-learn's digits",
        "model": "resnet18",
        "batch_size": "64",
        "baseline": "SGD at 0.1, the lowest final training loss",
        "statistic": "steps to a training loss of 0.5, CLR over SGD",
        "ratio": "1.25",
        "ratio_low": "1.1",
        "ratio_high": "1.4",
        "rule": "reproduced if the whole interval lies below 1",
        "verdict": "not reproduced",
        "by_numbers": "not reproduced",
        "reason": "CLR needs 25 steps, SGD 20.",
    },
    {
        "claim": "meets the cap",
        "figure": "4",
        "statement": "On ImageNet CLR's rates meet the cap of 10",
        "rule": "tested where the data is ImageNet",
        "verdict": "not tested at this scale",
        "by_numbers": "not reproduced",
        "reason": "No run of this protocol is on ImageNet <whole>.",
    },
]


def write(folder):
    """The results in a new folder."""
    return Path(shutil.copytree(_made().name, folder))


@cache
def _made():
    """Them, made once: drawing takes seconds."""
    made = TemporaryDirectory()
    old = shutil.ignore_patterns("figures", "report.html", "claims.*", "comparison")
    shutil.copytree(ROOT / "results" / "quick", made.name, ignore=old, dirs_exist_ok=True)
    figures.draw_all(Path(made.name))
    pd.DataFrame(CLAIMS).to_csv(Path(made.name) / "claims.csv", index=False)
    return made


def losses(folder, step, batch_size):
    """CLR's loss at a step, one a seed."""
    runs, steps = pd.read_csv(folder / "runs.csv"), pd.read_parquet(folder / "steps.parquet")
    own = runs[(runs["optimizer"] == "clr") & (runs["batch_size"] == batch_size)]
    return steps[steps["run_id"].isin(own["run_id"]) & (steps["step"] == step)]["loss"]
