"""Runs that a sweep plans, without the data."""

from types import SimpleNamespace

from small_sweeps import composed_sweep

from clr.sweeps.config import checked_sweep
from clr.sweeps.overrides import figure_overrides
from clr.sweeps.plan import plan_sweep


def sweep_config(*command_line):
    with composed_sweep(*command_line) as composed:
        return checked_sweep(composed)


def planned_figures(protocol, *command_line):
    """The overrides of the runs of each figure, and of all figures together, each once."""
    sweep = sweep_config(f"protocol={protocol}", *command_line)
    figures = {
        figure: [tuple(run) for _, run in figure_overrides(figure, sweep)]
        for figure in sweep.wanted_figures
    }
    return figures, list(dict.fromkeys(run for runs in figures.values() for run in runs))


def plan_without_data(*command_line):
    """The planned runs of a sweep, as if its data were converted."""
    info = SimpleNamespace(fingerprint="f")
    with composed_sweep(*command_line) as composed:
        return plan_sweep(checked_sweep(composed), lambda *_: info)


def containing(runs, *overrides):
    return [run for run in runs if set(overrides) <= set(run)]
