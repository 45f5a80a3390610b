"""A sweep of a protocol of two cells, trained and judged."""

import pandas as pd
import pytest
from entry_points import PLAIN
from small_sweeps import DATA, run

TASKS = "protocol.tasks"
SMALL = "'dataset=digits','epochs=1'"
REMOVED = [
    *(f"torchvision_{name}" for name in ("plain_group", "augmented_batch", "augmented_group")),
    *(f"zero_{name}" for name in ("plain_group", "augmented_batch", "augmented_group")),
    *("fp32", "longer"),
]


@pytest.mark.slow
def test_two_cells_are_trained_judged_and_drawn(folders):
    arguments = [
        "protocol=grid",
        "protocol.seeds=[0]",
        *(f"~{TASKS}.{name}" for name in REMOVED),
        f"{TASKS}.torchvision_plain_batch.overrides=[{SMALL}]",
        f"{TASKS}.zero_plain_batch.overrides=[{SMALL},'model.init=zero']",
        *(f"{TASKS}.{name}_plain_batch.batch_size=50" for name in ("torchvision", "zero")),
        *(f"{TASKS}.{name}_plain_batch.learning_rates=[0.1]" for name in ("torchvision", "zero")),
        *(f"train.{override}" for override in (*DATA, *PLAIN, f"data_dir={folders.data}")),
        f"store={folders.store}",
        f"results={folders.results}",
    ]
    code, output = run("sweep.py", *arguments)
    assert code == 0, output
    results = f"{folders.results}/grid"
    needed = pd.read_csv(f"{results}/figure_runs.csv")
    counts = needed.groupby(["figure", "task"]).size().to_dict()
    first, second = ("cells", "torchvision_plain_batch"), ("cells", "zero_plain_batch")
    assert counts == {first: 2, second: 3}

    code, output = run("scripts/claims.py", results, "--cells")
    assert code == 0, output
    lines = output.splitlines()
    assert lines[0].startswith(
        "| setting | CLR: final loss | CLR: steps / best fixed rate | CLR, cap"
    )
    rows = [line.split(" | ")[0] for line in lines[2:]]
    assert rows == ["| init torchvision, batch norm", "| init zero, batch norm"]

    for script in ("claims", "figures", "report"):
        code, output = run(f"scripts/{script}.py", results)
        assert code == 0, output
    claims = pd.read_csv(f"{results}/claims.csv").dropna(subset="setting")
    assert (
        claims.groupby("setting")["claim"].agg(list).tolist()
        == [["converges", "quicker", "adapts"]] * 2
    )
