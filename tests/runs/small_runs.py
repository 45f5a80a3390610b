"""Real runs that take a second: ResNet-18 on 40 digits of 16 × 16 pixels, two steps per epoch."""

from clr.config import load
from clr.data import prepare
from clr.runs.identity import run_id
from clr.runs.store import Store
from clr.training.trainer import train

SMALL = [
    "dataset.resolution=16",
    "dataset.train_samples=40",
    "dataset.test_samples=20",
    "model.stem=cifar",
    "batch_size=20",
    "epochs=1",
    "loader=torch",
    "workers=0",
    "wandb.mode=disabled",
    "device=cpu",
    "progress=false",
]


def small_config(folder, *overrides, store="runs"):
    places = [f"data_dir={folder / 'data'}", f"store={folder / store}"]
    return load([*SMALL, *places, *overrides])


def train_small(folder, *overrides, store="runs"):
    """Train a small run; returns its store and its run id."""
    cfg = small_config(folder, *overrides, store=store)
    record = train(cfg, prepare(cfg.dataset, cfg.data_dir, cfg.loader))
    return Store(cfg.store), record["run_id"]


def small_identity(folder, *overrides):
    """Config, prepared data, store and id of a small run that is not trained yet."""
    cfg = small_config(folder, *overrides)
    info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
    return cfg, info, Store(cfg.store), run_id(cfg, info.fingerprint)


def leave_foreign_lock(store, name):
    """Leave the lock of a process of another host that died."""
    with store.claim(name) as lease:
        lock = store.folder(name) / "lock"
        content = lock.read_text().replace(f"host={lease.owner.hostname}", "host=elsewhere")
    lock.write_text(content)
