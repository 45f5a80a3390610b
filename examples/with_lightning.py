"""Lightning with accumulation and LearningRateMonitor: python examples/with_lightning.py"""

import tempfile

import lightning
import torch
from digits import EPOCHS, build_model, load_digits
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from clr import CLR


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = build_model()

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = cross_entropy(self.model(images), labels)
        self.optimizers().watch_loss(loss)  # right for every accumulate_grad_batches
        self.log("loss", loss, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return CLR(self.parameters())

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, **_):
        # CLR would divide the loss by the clipped ‖g‖², which makes the rate too large.
        if gradient_clip_val:
            raise MisconfigurationException(
                "CLR needs the gradient unclipped: remove gradient_clip_val; max_lr bounds the rate"
            )


def main(**options) -> None:
    folder = tempfile.mkdtemp()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accumulate_grad_batches=2,
        accelerator="cpu",
        callbacks=[LearningRateMonitor("step")],  # at each step it logs the rate of the last one
        logger=CSVLogger(folder),
        enable_progress_bar=False,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(Classifier(), DataLoader(load_digits(), batch_size=64))
    loss = trainer.callback_metrics["loss_epoch"].item()
    rate = trainer.optimizers[0].param_groups[0]["lr"].item()
    print(f"epoch {EPOCHS}: loss {loss:.4f}, rate {rate:.4f}")
    assert loss < 0.5, "CLR did not learn the digits"


if __name__ == "__main__":
    main()
