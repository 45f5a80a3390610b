"""Estimate of the training time of runs, from the completed runs of a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from statistics import fmean

from clr.runs.store import Store
from clr.sweeps.planned_run import PlannedRun

_Shape = tuple[str | int, ...]  # what the time of an image depends on


class Estimate:
    """Estimates seconds of training by completed runs with the same dataset, model and precision.

    Runs of the same batch size are preferred.
    """

    def __init__(self, store: Store, planned: Mapping[str, PlannedRun]) -> None:
        self._planned = planned
        seconds_per_image: defaultdict[_Shape, list[float]] = defaultdict(list)
        for result in store.all_finished():
            cfg, summary = result["config"], result["summary"]
            shape = (cfg["dataset"]["name"], cfg["model"]["name"], cfg["precision"])
            images = max(1, summary["steps"] * cfg["batch_size"])
            for key in ((*shape, cfg["batch_size"]), shape):
                seconds_per_image[key].append(summary["seconds"] / images)
        self._seconds_per_image = {key: fmean(values) for key, values in seconds_per_image.items()}

    def seconds(self, name: str) -> float | None:
        """Return the seconds of the whole run; None if no completed run is comparable."""
        run = self._planned[name]
        if run.info is None:
            return None
        cfg = run.cfg
        shape = (cfg.dataset.name, cfg.model["name"], cfg.precision)
        images = cfg.epochs * (run.info.num_train // cfg.batch_size) * cfg.batch_size
        for key in ((*shape, cfg.batch_size), shape):
            if key in self._seconds_per_image:
                return images * self._seconds_per_image[key]
        return None


def duration(seconds: float) -> str:
    """Format seconds as H:MM:SS."""
    return str(timedelta(seconds=round(seconds)))
