"""Runs that each protocol's figures are planned to, as Hydra overrides."""

import pytest
import yaml
from planned_runs import containing, plan_without_data, planned_figures, sweep_config

from clr.config import CONFIGS
from clr.errors import UserError
from clr.runs.tables import FigureTask
from clr.sweeps.overrides import available_needs, need_tasks

PROTOCOLS = sorted(path.stem for path in (CONFIGS / "protocol").glob("*.yaml"))
# Those with figures of the paper.
PAPER = [name for name in PROTOCOLS if name not in ("grid", "arena", "arena-cpu")]


def task_of(protocol, task):
    return yaml.safe_load((CONFIGS / "protocol" / f"{protocol}.yaml").read_text())["tasks"][task]


# By figure: seeds × batch sizes × (CLR and the learning rates of SGD)
COUNTS = {
    "quick": {"2": 5 * 5, "4": 5, "6": 5 * 2 * 5, "9": 5 * 2},
    "overnight": {"2": 3 * 7, "4": 3, "6": 3 * (7 + 4), "9": 3 * 2},
    "cpu": {"2": 15, "3": 6, "4": 3 + 3, "5": 3, "6": 45, "7": 12, "8": 24, "9": 9 + 6},
    "gpu": {"2": 18, "3": 6, "4": 6, "5": 3, "6": 36, "7": 18, "8": 36, "9": 12},
    "paper": {"2": 24, "3": 9, "4": 6, "5": 3, "6": 120, "7": 18, "8": 120, "9": 24},
}
TOTALS = {
    "quick": 50,
    "overnight": 33 + 45,
    "cpu": 45 + 24 + 12 + 3,
    "gpu": 36 + 36 + 18 + 3,
    "paper": 120 + 120 + 18 + 6,
}


@pytest.mark.parametrize("protocol", COUNTS)
def test_the_number_of_runs_of_a_protocol(protocol):
    figures, runs = planned_figures(protocol)
    counts = {figure: len(planned) for figure, planned in figures.items()}
    # The race has the runs of Figures 6, 7 and 8.
    race = sum(COUNTS[protocol].get(figure, 0) for figure in ("6", "7", "8"))
    if protocol == "overnight":
        race += COUNTS["cpu"]["6"]  # those of its task cifar10_5k
    assert counts == COUNTS[protocol] | {"corridor_meter": COUNTS[protocol]["2"], "race": race}
    assert len(runs) == TOTALS[protocol]
    for planned in figures.values():
        assert len(set(planned)) == len(planned)


def test_the_overrides_of_quick_are_those_of_the_committed_runs():
    figures, _ = planned_figures("quick")
    task = (
        "dataset=digits",
        "dataset.resolution=16",
        "precision=fp32",
        "epochs=12",
        "threads=1",
        "small_maps=matmul",
        "diagnostics.every=13",
    )
    rates = [f"optimizer.lr={rate}" for rate in (0.01, 0.03, 0.1, 0.3)]
    optimizers = [("optimizer=clr",), *(("optimizer=sgd", rate) for rate in rates)]
    # Seeds are outermost, so that a sweep that is stopped early has whole seeds.
    expected = [
        (*task, "model=resnet18", *optimizer, "batch_size=256", f"seed={seed}")
        for seed in range(5)
        for optimizer in optimizers
    ]
    assert figures["2"] == expected
    assert figures["4"] == containing(expected, "optimizer=clr")


def test_a_task_may_name_its_model():
    figures, _ = planned_figures("quick", "+protocol.tasks.cifar10.model=resnet50", "figure=[2,6]")
    for runs in figures.values():
        assert containing(runs, "model=resnet50") == runs


@pytest.mark.parametrize("protocol", PAPER)
def test_the_corridor_meter_measures_the_runs_of_figure_2_for_every_figure(protocol):
    figures, runs = planned_figures(protocol)
    task = task_of(protocol, "cifar10")
    rates = task.get("corridor_meter_rates", task["learning_rates"])
    measured = [
        *containing(figures["2"], "optimizer=clr"),
        *(run for rate in rates for run in containing(figures["2"], f"optimizer.lr={rate}")),
    ]
    every = f"diagnostics.every={task['corridor_meter_every']}"
    assert set(containing(runs, every)) == set(measured)
    assert figures["corridor_meter"] == figures["2"]
    others = [run for run in runs if run not in measured]
    assert not [run for run in others if any("diagnostics" in override for override in run)]


def test_a_batch_size_can_have_a_budget_and_rates_of_its_own():
    _, runs = planned_figures("overnight")
    own = containing(runs, "batch_size=512")
    assert containing(own, "epochs=8") == own
    # The later override counts.
    assert all(run.index("epochs=20") < run.index("epochs=8") for run in own)
    assert not containing(containing(runs, "batch_size=4096"), "epochs=8")
    rates = [override for run in own for override in run if "optimizer.lr=" in override]
    assert rates == ["optimizer.lr=0.03", "optimizer.lr=0.1", "optimizer.lr=0.3"] * 3


@pytest.mark.parametrize("figures", ["2,6", "6,2"])
@pytest.mark.slow
def test_a_run_of_two_figures_is_planned_once_with_the_corridor_meter(figures):
    planned = plan_without_data(f"figure={figures}", "protocol.seeds=[0]")
    assert len(planned) == 10
    measured = [run for run in planned.values() if run.cfg.diagnostics.every == 13]
    assert len(measured) == 5
    for run in measured:
        assert run.figures == {"2", "6"}
        assert run.cfg.batch_size == 256
        assert run.cfg.wandb.tags == ["figure 2", "figure 6"]


@pytest.mark.parametrize("protocol", ["cpu", "gpu", "paper"])
def test_on_imagenet_clr_is_capped_and_sgd_has_learning_rates(protocol):
    figures, runs = planned_figures(protocol)
    imagenet = [run for run in runs if run[0].startswith("dataset=imagenet")]
    capped = containing(runs, "optimizer.max_lr=10")
    assert capped == containing(imagenet, "optimizer=clr")
    assert containing(capped, "model=resnet50") == capped
    assert set(imagenet) == {*figures["3"], *figures["7"]}
    with_rate = [run for run in runs if any(word.startswith("optimizer.lr=") for word in run)]
    assert with_rate == containing(runs, "optimizer=sgd")


def test_methods_with_a_cap_of_their_own_keep_it_on_imagenet():
    figures, _ = planned_figures(
        "paper", "optimizers=[clr,sgd,alig,clr_scaled,clr_warmup,momo,sps]"
    )
    capped = containing(figures["7"], "optimizer.max_lr=10")
    assert capped == [
        run for run in figures["7"] if {"optimizer=clr", "optimizer=clr_scaled"} & set(run)
    ]


@pytest.mark.parametrize("protocol", ["cpu", "gpu", "paper"])
def test_figure_4_shows_clr_of_figures_2_and_7(protocol):
    figures, _ = planned_figures(protocol)
    assert figures["4"][:3] == containing(figures["2"], "optimizer=clr")
    assert figures["4"][3:] == containing(figures["7"], "optimizer=clr")
    assert set(figures["4"][3:]) <= set(figures["3"])


@pytest.mark.parametrize("protocol", ["gpu", "paper"])
def test_figure_8_is_figure_6_with_resnet50_and_includes_figure_5(protocol):
    figures, _ = planned_figures(protocol)

    def batch_sizes(runs):
        return [[word for word in run if word.startswith("batch_size=")] for run in runs]

    assert batch_sizes(figures["8"]) == batch_sizes(figures["6"])
    assert containing(figures["8"], "model=resnet50") == figures["8"]
    assert set(figures["5"]) <= set(figures["8"])


@pytest.mark.parametrize("protocol", PAPER)
def test_figure_9_is_clr_of_figures_6_and_3(protocol):
    figures, _ = planned_figures(protocol)
    assert figures["9"] == containing(figures["6"], "optimizer=clr") + figures.get("3", [])


def test_grid_runs_each_cell_with_seeds_outermost():
    figures, runs = planned_figures("grid")
    per_seed = 5 + 8 * 4 + 2 + 2  # four, three and one rates; two cells have clr_warmup
    assert len(runs) == 3 * per_seed
    assert figures == {"cells": runs}
    seeds = [f"seed={seed}" for seed in range(3) for _ in range(per_seed)]
    assert [run[-1] for run in runs] == seeds
    warmed = containing(runs, "optimizer=clr_warmup")
    assert len(containing(warmed, "model.init=zero")) == len(warmed) == 6
    assert len(containing(runs, "model.norm=group", "dataset.flip=true")) == 2 * 4 * 3


def test_the_first_cell_of_grid_has_the_runs_of_cpu():
    sweep = ["protocol.seeds=[0]", "figure=[cells]", "protocol=grid"]
    grid = plan_without_data(*sweep, "~protocol.tasks.longer")
    cpu = plan_without_data("protocol=cpu", "figure=[2]", "protocol.seeds=[0]")
    first = FigureTask("cells", "torchvision_plain_batch")
    own = {name for name, run in grid.items() if first in run.needs}
    rates = {run.cfg.optimizer.get("lr") for name, run in grid.items() if name in own & set(cpu)}
    assert rates == {None, 0.01, 0.03, 0.1, 0.3}
    assert len(own) == 5
    assert all(run.needs == {FigureTask("2", "cifar10")} for run in cpu.values())


def test_a_run_of_two_tasks_is_planned_once():
    sweep = ["protocol=grid", "protocol.seeds=[0]", "optimizers=[clr]"]
    same = "protocol.tasks.fp32.overrides=${protocol.tasks.torchvision_plain_batch.overrides}"
    planned = plan_without_data(*sweep, same)
    first, other = (FigureTask("cells", name) for name in ("torchvision_plain_batch", "fp32"))
    assert [run.needs for run in planned.values() if other in run.needs] == [{first, other}]
    assert len(planned) == 9 + 2


def test_figure_cells_needs_tasks_with_titles():
    with pytest.raises(UserError, match="figure=cells needs a task"):
        planned_figures("quick", "figure=cells")


def test_a_task_that_is_removed_removes_its_panel_of_figure_4():
    figures, _ = planned_figures("gpu", "~protocol.tasks.imagenet", "figure=2,4")
    assert figures["4"] == containing(figures["2"], "optimizer=clr")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_has_every_figure_that_its_tasks_allow(protocol):
    sweep = sweep_config(f"protocol={protocol}")
    available = {figure for figure, needs in available_needs(sweep).items() if needs}
    assert set(sweep.wanted_figures) == available
    needs = [need for lines in available_needs(sweep).values() for need in lines]
    needed = {task for need in needs for task in need_tasks(need, sweep.protocol)}
    assert set(sweep.protocol.tasks) == needed


@pytest.mark.parametrize(
    ("command_line", "message"),
    [
        (["figure=3"], "figure=3 needs a task or batch_sizes missing from protocol quick; use fig"),
        (["figure=10"], "figure=10 is unknown to protocol quick; use figure=2,4,6,9,corridor_met"),
        (["figure=abc-d"], "figure=abc-d is unknown"),
        (["figure=[]"], "no figure is chosen"),
        (["figure=null"], "no figure is chosen"),
        (["protocol.seeds=[]"], "the sweep has no runs"),
        (["protocol.seeds=0"], "protocol.seeds"),
        (["dry_run=maybe"], "dry_run"),
        (["optimizers=clr"], "optimizers"),
        (["optimizers=[nope]"], "optimizer nope is unknown; configs/optimizer has adamw, "),
        (["+protocol.tasks.cifar10.batches=3"], "batches"),
        (
            [
                "+figures.mine=[{task:cifar10,model:resnet18,batch_sizes:all,optimizers:[clr]}]",
                "figure=mine",
            ],
            "batch_sizes: all",
        ),
        (
            [
                "+figures.mine=[{task:cifar10,model:resnet18,batch_sizes:sweep,optimizers:[clr],"
                "grid:all}]",
                "figure=mine",
            ],
            "grid: all in the figures of configs/sweep.yaml is unknown; use task or own",
        ),
        (["protocol=arena", "methods=[nope]"], "optimizer nope is unknown; configs/optimizer has"),
        (["train.store=elsewhere"], "use store=FOLDER"),
        (["train.seed=1"], "use protocol.seeds"),
        (["train.batch_size=32"], "batch_size=N"),
        (["train.optimizer.lr=1"], "learning_rates"),
        (["train.epochs=0"], "epochs=0"),
        (["protocol.name=../x"], "protocol.name=../x must not contain /"),
        (["protocol.name=''"], "protocol.name= is empty"),
        (
            ["protocol=grid", "protocol.tasks.fp32.title=${protocol.tasks.longer.title}"],
            "two tasks have the title 'init torchvision, batch norm, 32 epochs'",
        ),
    ],
)
def test_a_wrong_setting_of_a_sweep_is_one_line(command_line, message):
    with pytest.raises(UserError) as error:
        plan_without_data(*command_line)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("command_line", "path"),
    [
        (["protocol=gpu", "~protocol.tasks.imagenet", "paths.cifar10=/mine"], "/mine"),
        (["protocol=gpu", "~protocol.tasks.imagenet"], "data/cifar10"),
        (["protocol=quick", "paths.cifar10=/mine"], None),
    ],
)
def test_a_folder_of_originals_belongs_to_its_source(command_line, path):
    planned = plan_without_data("figure=4", "paths.imagenet=/other", *command_line)
    assert {run.cfg.dataset.path for run in planned.values()} == {path}


def test_folders_may_have_names_that_hydra_would_have_to_quote():
    planned = plan_without_data("figure=4", "store='my runs, a=b'", r"train.dataset.title='it\'s'")
    for run in planned.values():
        assert run.cfg.store == "my runs, a=b"
        assert run.cfg.dataset.title == "it's"
