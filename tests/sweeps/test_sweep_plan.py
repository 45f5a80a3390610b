"""Which runs each protocol's figures are planned to, as Hydra overrides: no data is prepared."""

from types import SimpleNamespace

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from clr.config import CONFIGS
from clr.errors import UserError
from clr.runs.tables import row
from clr.sweeps.plan import _has, overrides_of, plan

PROTOCOLS = sorted(path.stem for path in (CONFIGS / "protocol").glob("*.yaml"))


def planned_figures(protocol, *overrides):
    """The overrides of each run of each figure, and of all figures together, each once, be it measured or not."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        sweep = compose("sweep", overrides=[f"protocol={protocol}", *overrides])
    figures = {
        figure: [tuple(run) for run in overrides_of(str(figure), sweep)] for figure in sweep.figure
    }
    return figures, list(
        dict.fromkeys(unmeasured(run) for runs in figures.values() for run in runs)
    )


def unmeasured(run):
    return tuple(override for override in run if not override.startswith("diagnostics.every="))


def having(runs, *overrides):
    return [run for run in runs if set(overrides) <= set(run)]


@pytest.mark.parametrize(
    ("protocol", "counts", "total"),
    [
        # seeds × batch sizes × (CLR and the rates)
        ("quick", {2: 3 * 5, 4: 3, 6: 3 * 2 * 5, 9: 3 * 2, "corridor_meter": 15}, 3 * 2 * 5),
        (
            "cpu",
            {
                2: 15,
                3: 3 * 2,
                4: 3 + 3,
                5: 3,
                6: 3 * 3 * 5,
                7: 3 * 5,
                9: 9 + 6,
                "corridor_meter": 15,
            },
            45 + 3 + 15 + 3,
        ),
        (
            "gpu",
            {2: 18, 3: 6, 4: 6, 5: 3, 6: 36, 7: 18, 8: 36, 9: 12, "corridor_meter": 18},
            36 + 36 + 18 + 3,
        ),
        (
            "paper",
            {2: 24, 3: 9, 4: 6, 5: 3, 6: 120, 7: 18, 8: 120, 9: 24, "corridor_meter": 24},
            120 + 120 + 18 + 6,
        ),
    ],
)
def test_a_protocols_own_figures_and_their_runs(protocol, counts, total):
    figures, runs = planned_figures(protocol)
    assert {figure: len(of) for figure, of in figures.items()} == counts
    assert all(len(set(of)) == len(of) for of in figures.values()) and len(runs) == total


def test_the_runs_on_the_digits_are_told_apart_by_what_they_always_were():
    figures, _ = planned_figures("quick")
    common = ("dataset=digits", "precision=fp32", "epochs=6", "model=resnet18")
    sgd = [f"optimizer.lr={rate}" for rate in (0.01, 0.03, 0.1, 0.3)]
    each = [("optimizer=clr",), *(("optimizer=sgd", rate) for rate in sgd)]
    # Seeds outermost: what a sweep has made when it is stopped early compares the same seeds
    expected = [
        (*common, *run, "batch_size=256", f"seed={seed}") for seed in (0, 1, 2) for run in each
    ]
    assert figures[2] == expected and figures[4] == having(expected, "optimizer=clr")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_meter_measures_figure_2s_runs_and_no_others(protocol):
    figures, _ = planned_figures(protocol)
    task = yaml.safe_load((CONFIGS / "protocol" / f"{protocol}.yaml").read_text())["tasks"][
        "cifar10"
    ]
    assert (
        having(figures["corridor_meter"], f"diagnostics.every={task['corridor_meter_every']}")
        == figures["corridor_meter"]
    )
    assert [unmeasured(run) for run in figures["corridor_meter"]] == figures[2]
    assert all(
        unmeasured(run) == run
        for figure, runs in figures.items()
        if figure != "corridor_meter"
        for run in runs
    )


@pytest.mark.parametrize("figures", ["[2,corridor_meter]", "[corridor_meter,2]"])
def test_a_run_that_two_figures_need_is_made_once_with_the_meter(monkeypatch, figures):
    monkeypatch.setattr("clr.sweeps.plan.prepare", lambda *_: SimpleNamespace(fingerprint="f"))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        planned = plan(compose("sweep", overrides=[f"figure={figures}"]))
    # Of the fixed rates, the best alone: which that is is not known before.
    measured = {"clr": (6, None), "sgd": (None, 6)}
    for run in planned.values():
        assert (run.cfg.diagnostics.every, run.if_best) == measured[run.cfg.optimizer["name"]]
    assert len(planned) == 15 and all(
        run.figures == {"2", "corridor_meter"} for run in planned.values()
    )


@pytest.mark.parametrize("protocol", ["cpu", "gpu", "paper"])
def test_on_imagenet_clr_alone_is_capped_and_sgd_alone_has_rates(protocol):
    figures, runs = planned_figures(protocol)
    capped = having(runs, "optimizer.max_lr=10")
    imagenet = [run for run in runs if run[0].startswith("dataset=imagenet")]
    assert (
        capped
        and capped == having(imagenet, "optimizer=clr")
        and having(capped, "model=resnet50") == capped
    )
    assert set(imagenet) == {*figures[3], *figures[7]}
    with_rate = [
        run for run in runs if any(override.startswith("optimizer.lr=") for override in run)
    ]
    assert with_rate == having(runs, "optimizer=sgd")
    # Figure 4's second panel is CLR of Figure 7; Figure 3 has it, too
    assert figures[4][3:] == having(figures[7], "optimizer=clr") and set(figures[4][3:]) <= set(
        figures[3]
    )
    assert figures[4][:3] == having(figures[2], "optimizer=clr")


def test_resnet50_on_cifar10_is_clr_with_a_budget_of_its_own():
    expected = (
        "dataset=cifar10-5k",
        "dataset.test_samples=2000",
        "precision=bf16",
        "epochs=12",
        "model=resnet50",
        "optimizer=clr",
        "batch_size=250",
    )
    assert planned_figures("cpu")[0][5] == [(*expected, f"seed={seed}") for seed in (0, 1, 2)]


@pytest.mark.parametrize("protocol", ["gpu", "paper"])
def test_figure_8_is_figure_6_with_resnet50_and_holds_figure_5s_runs(protocol):
    figures, _ = planned_figures(protocol)
    batch_sizes = [
        {override for override in run if override.startswith("batch_size=")} for run in figures[6]
    ]
    assert [{o for o in run if o.startswith("batch_size=")} for run in figures[8]] == batch_sizes
    assert having(figures[8], "model=resnet50") == figures[8] and set(figures[5]) <= set(figures[8])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_figure_9_is_clr_of_figures_6_and_3_and_costs_no_run(protocol):
    figures, _ = planned_figures(protocol)
    assert figures[9] == having(figures[6], "optimizer=clr") + figures.get(3, [])


def test_a_task_that_is_taken_away_takes_its_panel_of_figure_4_along():
    figures, _ = planned_figures("gpu", "~protocol.tasks.imagenet", "figure=[2,4]")
    assert figures[4] == having(figures[2], "optimizer=clr")


@pytest.mark.parametrize(
    ("figure", "problem"),
    [
        (
            3,
            "figure=3 needs a task or batch_sizes that are not in protocol quick; it has figure=2,4,6,9,corridor_meter",
        ),
        (10, "figure=10 is unknown to protocol quick; it has figure=2,4,6,9,corridor_meter"),
        (
            8,
            "figure=8 needs a task or batch_sizes that are not in protocol cpu; it has figure=2,3,4,5,6,7,9,corridor_meter",
        ),
    ],
)
def test_a_figure_that_cannot_be_planned_is_a_users_mistake(figure, problem):
    with pytest.raises(UserError) as error:
        planned_figures("cpu" if figure == 8 else "quick", f"figure=[{figure}]")
    assert str(error.value) == problem


@pytest.mark.parametrize(
    ("protocol", "overrides", "path"),
    [
        ("cpu", ["paths.cifar10=/mine"], "/mine"),
        ("cpu", [], "data/cifar10"),
        ("quick", ["paths.cifar10=/mine"], None),
    ],
)
def test_a_folder_of_originals_is_for_the_data_sets_of_its_source(
    monkeypatch, protocol, overrides, path
):
    monkeypatch.setattr(
        "clr.sweeps.plan.prepare", lambda dataset, *_: SimpleNamespace(fingerprint="f")
    )
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        overrides = [f"protocol={protocol}", "figure=[2]", "paths.imagenet=/other", *overrides]
        planned = plan(compose("sweep", overrides=overrides))
    assert {run.cfg.dataset.path for run in planned.values()} == {path}
    assert len(planned) == 15 and all(run.figures == {"2"} for run in planned.values())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_task_is_needed_and_no_figure_is_forgotten(protocol):
    figures = OmegaConf.create(yaml.safe_load((CONFIGS / "sweep.yaml").read_text())["figures"])
    written = yaml.safe_load((CONFIGS / "protocol" / f"{protocol}.yaml").read_text())
    tasks = OmegaConf.create(written["tasks"])
    can = {number for number, needs in figures.items() if any(_has(need, tasks) for need in needs)}
    assert set(written["figures"]) == can
    assert set(written["tasks"]) <= {need["task"] for needs in figures.values() for need in needs}


@pytest.mark.parametrize(
    ("optimizer", "columns"),
    [
        ({"name": "clr", "max_lr": 10}, {"learning_rate": None, "max_lr": 10}),
        ({"name": "sgd", "lr": 0.1}, {"learning_rate": 0.1, "max_lr": None}),
    ],
)
def test_the_table_of_runs_has_rate_and_cap(optimizer, columns):
    config = {"dataset": {"name": "d"}, "model": {"name": "m"}, "optimizer": optimizer}
    config |= {"batch_size": 64, "seed": 0, "epochs": 1, "precision": "fp32"}
    provenance = {"hardware": "h", "revision": "r", "libraries": {"torch": "t"}}
    run = {
        "run_id": "id",
        "config": config,
        "data": {"label": "l", "num_train": 9, "fingerprint": "f"},
    }
    run |= {"status": "finished", "summary": {}, "device": "cpu", "provenance": provenance}
    made = row(run)
    assert {key: made[key] for key in columns} == columns
