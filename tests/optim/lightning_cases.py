"""Lightning modules on the task of the examples. Importing this takes seconds: do it in a test."""

import lightning
import torch
from digits import load_digits
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from watched_steps import recorded_steps
from with_lightning import Classifier


class Unwatched(Classifier):
    """A module whose loss CLR only gets as the value of Lightning's closure."""

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return cross_entropy(self.model(images), labels)


class ValueOfClosure(Unwatched):
    """Passes on the value of the closure as if it were the loss of the step."""

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        optimizer.step(loss=optimizer_closure())


class Clipping(Classifier):
    configure_gradient_clipping = lightning.LightningModule.configure_gradient_clipping


class Manual(Unwatched):
    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        optimizer.step(loss=loss)


class Scheduled(Classifier):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def fit(module, folder, batch_size=64, batches=8, accumulate=True, **options):
    """Train on the first batches and return the trainer with the steps that were taken."""
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        accumulate_grad_batches=2 if accumulate else 1,
        limit_train_batches=batches,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        **{"logger": False, **options},
    )
    with recorded_steps() as steps:
        trainer.fit(module, DataLoader(load_digits(), batch_size=batch_size))
    return trainer, steps


def fit_with_monitor(folder):
    """Train with LearningRateMonitor; return the steps and the file with what it logged."""
    logger = CSVLogger(folder)
    options = {"callbacks": [LearningRateMonitor("step")], "log_every_n_steps": 1}
    _, steps = fit(Classifier(), folder, logger=logger, **options)
    return steps, f"{logger.log_dir}/metrics.csv"
