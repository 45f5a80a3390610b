"""Short runs repeat the committed traces, number by number.

`python tests/training/test_golden.py` writes the traces again. Say in the commit why they changed.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from clr.runs.provenance import hardware

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "training" / "golden"
WRITTEN_ON = GOLDEN / "hardware.txt"
RUNS = {
    "clr": ["optimizer=clr"],
    "clr-augmented": [
        "optimizer=clr",
        "optimizer.max_lr=0.01",
        "dataset.crop_padding=4",
        "dataset.flip=true",
    ],
    "sgd-bf16": ["optimizer=sgd", "optimizer.lr=0.03", "precision=bf16"],
}
COMMON = [
    "seed=1",
    "batch_size=50",
    "epochs=2",
    "dataset.train_samples=200",
    "dataset.test_samples=50",
    "loader=torch",
    "workers=0",
    "device=cpu",
    "wandb.mode=disabled",
]
# With one thread and one instruction set, the order of every sum is the same on all x86-64
# processors with AVX2.
REPRODUCIBLE = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
}


def trace(name: str, folder: Path) -> pd.DataFrame:
    places = [f"data_dir={folder / 'data'}", f"store={folder}/runs"]
    subprocess.run(
        [sys.executable, "train.py", *COMMON, *RUNS[name], *places],
        cwd=ROOT,
        env=os.environ | REPRODUCIBLE,
        check=True,
        timeout=300,
        stdout=subprocess.DEVNULL,
    )
    (run,) = (folder / "runs").iterdir()
    steps = pd.read_parquet(run / "steps.parquet").drop(columns=["seconds", "samples"])
    epochs = pd.read_parquet(run / "epochs.parquet")[["step", "test_loss", "test_accuracy"]]
    return steps.merge(epochs, on="step", how="left")


@pytest.mark.parametrize("name", RUNS)
def test_a_run_repeats_its_golden_trace(name, tmp_path):
    trained = trace(name, tmp_path)
    golden = pd.read_csv(GOLDEN / f"{name}.csv", float_precision="round_trip")
    if hardware().split(",")[0] == WRITTEN_ON.read_text().strip():
        pd.testing.assert_frame_equal(trained, golden, check_exact=True)
    else:
        # Another maker's processor may round differently, and eight steps magnify that.
        pd.testing.assert_frame_equal(trained.head(4), golden.head(4), rtol=1e-2)


if __name__ == "__main__":
    for each in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            trace(each, Path(folder)).to_csv(GOLDEN / f"{each}.csv", index=False)
    WRITTEN_ON.write_text(hardware().split(",")[0] + "\n")
