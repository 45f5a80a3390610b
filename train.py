"""Train one run: `python train.py dataset=cifar10 optimizer=sgd optimizer.lr=0.1 batch_size=4096`.

Every key of configs/train.yaml can be overridden. A run that the store already has is not trained
again, and an interrupted one resumes from its checkpoint. With `torchrun --nproc_per_node=8
train.py`, or `srun` with several tasks, the ranks share each batch.
"""

import json
import sys
from dataclasses import asdict

import hydra
from omegaconf import DictConfig

from clr.cli import check_options, fail, run_main
from clr.config import CONFIGS, TrainConfig, checked, from_dict
from clr.data import count_classes, prepare_once
from clr.runs.store import Store
from clr.training.distributed import Ranks, join
from clr.training.model_check import check_model
from clr.training.optimizers import check_optimizer
from clr.training.trainer import train_unless_completed


def train_and_report(cfg: TrainConfig, ranks: Ranks) -> None:
    """Train the run with all ranks; rank 0 prints one line about the result.

    The line says whether the store had the run: then it was not trained again.
    """
    info = prepare_once(cfg.dataset, cfg.data_dir, cfg.loader)
    result, is_trained = train_unless_completed(cfg, info, ranks)
    if not ranks.is_main:
        return
    summary, folder = result["summary"], Store(cfg.store).folder(result["run_id"])
    print(
        f"{result['status']}{'' if is_trained else ' before'}: {summary['steps']} steps, "
        f"training loss {summary['final_train_loss']:.4g}, "
        f"test accuracy {summary['final_test_accuracy']:.1%}, "
        f"{summary['images_per_second']:.0f} img/s; records in {folder}"
    )


def main() -> None:
    check_options(sys.argv[1:])
    with join() as ranks:

        @hydra.main(config_path=str(CONFIGS), config_name="train", version_base="1.3")
        def compose_and_train(composed: DictConfig) -> None:
            try:
                with ranks.propagate_errors():
                    cfg = checked(composed)
                    with_curvature = check_optimizer(cfg.optimizer)
                    check_model(cfg, count_classes(cfg.dataset), with_curvature)
                    # Rank 0 converts the data before the other ranks look for it.
                    prepare_once(cfg.dataset, cfg.data_dir, cfg.loader)
                    ranks.send(json.dumps(asdict(cfg)))
                    train_and_report(cfg, ranks)
            except Exception as error:
                fail(error)

        if ranks.is_main:
            compose_and_train()
            ranks.send("")
        else:
            # Hydra composes on rank 0 only: the others would create folders and multiruns too.
            for text in ranks.receive():
                train_and_report(from_dict(json.loads(text)), ranks)


if __name__ == "__main__":
    run_main(main)
