"""One run: `python train.py dataset=cifar10 optimizer=sgd optimizer.lr=0.1 batch_size=4096 seed=1`.

Every key of configs/train.yaml can be overridden. A run that the store already has is not made again.
"""

import hydra
from omegaconf import DictConfig

from clr.cli import door, fail
from clr.config import checked
from clr.data import prepare
from clr.errors import UserError
from clr.store import Store
from clr.trainer import train


@hydra.main(config_path="configs", config_name="train", version_base="1.3")
def main(composed: DictConfig) -> None:
    try:
        cfg = checked(composed)
        run = train(cfg, prepare(cfg.dataset, cfg.data_dir, cfg.loader))
    except UserError as error:  # caught here as well: Hydra would print a line of its own first
        fail(error)
    summary = run["summary"]
    print(
        f"{run['status']}: {summary['steps']} steps, training loss {summary['final_train_loss']:.4g}, "
        f"test accuracy {summary['final_test_accuracy']:.1%}, {summary['images_per_second']:.0f} img/s; "
        f"records in {Store(cfg.store).folder(run['run_id'])}"
    )


if __name__ == "__main__":
    door(main)
