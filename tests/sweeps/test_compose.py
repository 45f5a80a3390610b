"""Configs of a sweep's runs, which share compositions, are those that Hydra composes one by one."""

import pytest
from hydra import compose
from hydra.errors import ConfigCompositionException
from small_sweeps import composed_sweep

from clr.config import checked
from clr.sweeps.compose import Composer
from clr.sweeps.config import checked_sweep
from clr.sweeps.overrides import figure_overrides


@pytest.mark.parametrize("further", [[], ["train.epochs=7"], ["train.diagnostics.every=null"]])
@pytest.mark.parametrize("protocol", ["overnight", "cpu"])
def test_a_run_has_the_config_that_hydra_composes(protocol, further):
    with composed_sweep(f"protocol={protocol}", *further) as composed:
        sweep = checked_sweep(composed)
        overrides = [
            run for figure in sweep.wanted_figures for _, run in figure_overrides(figure, sweep)
        ]
        composer = Composer(sweep)
        shared = [composer.run(run) for run in overrides]
        for run, cfg in list(zip(overrides, shared, strict=True))[::7]:
            alone = compose("train", overrides=[*run, *sweep.train])
            alone.store, alone.wandb.group = sweep.store, protocol
            assert cfg == checked(alone)


def test_a_number_that_depends_on_a_varied_one_is_computed_for_each_run():
    with composed_sweep("protocol=quick") as composed:
        composer = Composer(checked_sweep(composed))
        dependent = "dataset.test_samples=${batch_size}"
        runs = [composer.run([dependent, f"batch_size={size}"]) for size in (64, 32)]
    assert [cfg.dataset.test_samples for cfg in runs] == [64, 32]


def test_runs_that_share_a_composition_share_no_values():
    with composed_sweep("protocol=quick") as composed:
        composer = Composer(checked_sweep(composed))
        first, second = (
            composer.run(["optimizer=sgd", f"optimizer.lr={rate}", f"seed={seed}", "batch_size=8"])
            for rate, seed in [(0.5, 1), (0.25, 2)]
        )
    assert (first.optimizer["lr"], first.seed) == (0.5, 1)
    assert (second.optimizer["lr"], second.seed) == (0.25, 2)
    second.optimizer["lr"] = 3.0
    second.wandb.tags.append("figure 2")
    assert first.optimizer["lr"] == 0.5
    assert first.wandb.tags == []


def test_numbers_that_hydra_reads_as_another_type_are_left_to_hydra():
    with composed_sweep("protocol=quick", "train.epochs=1.5") as composed:
        composer = Composer(checked_sweep(composed))
        with pytest.raises(ConfigCompositionException, match="epochs"):
            composer.run(["model=resnet18", "seed=0"])
