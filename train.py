"""One run: `python train.py dataset=cifar10 optimizer=sgd optimizer.lr=0.1 batch_size=4096 seed=1`.

Every key of configs/train.yaml can be overridden. A run that the store already has is not made again; one that was
killed goes on from its checkpoint. `torchrun --nproc_per_node=8 train.py ...`, or `srun` of several tasks, shares the
batch among that many ranks.
"""

import json
from dataclasses import asdict

import hydra
from omegaconf import DictConfig

from clr.cli import fail, run_main
from clr.config import CONFIGS, TrainConfig, checked, from_dict
from clr.data import prepare
from clr.runs.store import Store
from clr.training.distributed import Ranks, join
from clr.training.trainer import train


def run(cfg: TrainConfig, ranks: Ranks) -> None:
    done = train(cfg, prepare(cfg.dataset, cfg.data_dir, cfg.loader), ranks)
    if ranks.is_main:
        summary = done["summary"]
        print(
            f"{done['status']}: {summary['steps']} steps, training loss {summary['final_train_loss']:.4g}, "
            f"test accuracy {summary['final_test_accuracy']:.1%}, {summary['images_per_second']:.0f} img/s; "
            f"records in {Store(cfg.store).folder(done['run_id'])}"
        )


def main() -> None:
    with join() as ranks:

        @hydra.main(config_path=str(CONFIGS), config_name="train", version_base="1.3")
        def lead(composed: DictConfig) -> None:
            try:
                with ranks.propagate_errors():
                    cfg = checked(composed)
                    prepare(
                        cfg.dataset, cfg.data_dir, cfg.loader
                    )  # before the other ranks look for it
                    ranks.send(json.dumps(asdict(cfg)))
                    run(cfg, ranks)
            except Exception as error:
                fail(error)

        if ranks.is_main:
            lead()
            ranks.send("")
        else:
            # Hydra composes once, on rank 0: the others would make folders and multiruns of their own.
            for text in ranks.receive():
                run(from_dict(json.loads(text)), ranks)


if __name__ == "__main__":
    run_main(main)
