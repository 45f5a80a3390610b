"""CLR under Lightning: accumulation, clipping, manual optimization, schedulers, checkpoints."""

import warnings

import lightning
import pandas
import pytest
import torch
from digits import load_digits
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from watched_steps import batch_number, check_rates, rate_of_formula, recorded_steps
from with_lightning import Classifier, main

from clr import CLR

pytestmark = pytest.mark.slow


class Unwatched(Classifier):
    """A module whose loss CLR only gets as the value of Lightning's closure."""

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return cross_entropy(self.model(images), labels)


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


def fit(module, folder, batch_size=64, batches=8, **options):
    """Train on the first batches and return the trainer with the steps that were taken."""
    options = {"accumulate_grad_batches": 128 // batch_size, "logger": False} | options
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        limit_train_batches=batches,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        **options,
    )
    with recorded_steps() as steps:
        trainer.fit(module, DataLoader(load_digits(), batch_size=batch_size))
    return trainer, steps


def test_accumulation_without_watch_loss_is_refused(tmp_path):
    """The closure returns half of the loss of the last micro-batch: see the next test."""
    with pytest.raises(ValueError, match=r"gradient accumulation.*watch_loss\(loss\).*Lightning"):
        fit(Unwatched(), tmp_path)


def test_the_value_of_the_closure_is_wrong_under_accumulation(tmp_path):
    class Closure(Unwatched):
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            self.returned = optimizer_closure()
            optimizer.step(loss=self.returned)

    module = Closure()
    _, (step,) = fit(module, tmp_path, batches=2)
    right = rate_of_formula(step.params, batch_number(0))
    assert step.rate == pytest.approx(right / 2, rel=0.1)  # of another half of the batch


def test_without_accumulation_the_closure_is_enough(tmp_path):
    _, steps = fit(Unwatched(), tmp_path, batch_size=128)
    assert len(steps) == 8
    check_rates(steps)


def test_an_incomplete_accumulation_takes_the_same_step(tmp_path):
    """Three micro-batches to two steps: Lightning halves the third loss, and its gradient."""
    module = Classifier()
    _, (_, last) = fit(module, tmp_path, batches=3)
    images, labels = (t[:64] for t in batch_number(1))
    of_the_micro_batch = rate_of_formula(last.params, (images, labels), micro_batches=1)
    assert last.rate == pytest.approx(2 * of_the_micro_batch, rel=1e-4)


def test_clipping_is_refused_by_the_example():
    with pytest.raises(MisconfigurationException, match="remove gradient_clip_val"):
        main(gradient_clip_val=1.0)


def test_the_norm_is_taken_after_lightning_clips(tmp_path):
    """The reason to refuse: h is E over the clipped ‖g‖²."""
    _, (step,) = fit(Clipping(), tmp_path, batches=2, gradient_clip_val=0.1)
    params = step.params
    loss = cross_entropy(_model_of(params)(batch_number(0)[0]), batch_number(0)[1]).item()
    assert step.rate == pytest.approx(loss / 0.1**2, rel=1e-3)
    assert step.rate > 10 * rate_of_formula(params, batch_number(0))


def _model_of(params):
    module = Classifier()
    module.model.load_state_dict(dict(zip(module.model.state_dict(), params, strict=True)))
    return module.model


def test_manual_optimization_takes_the_loss_by_name(tmp_path):
    _, steps = fit(Manual(), tmp_path, batch_size=128)
    assert len(steps) == 8
    check_rates(steps)


def test_a_scheduler_warns_and_the_recorded_rate_stays_right(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, steps = fit(Scheduled(), tmp_path)
    check_rates(steps)
    assert sum("lr of CLR was set from outside" in str(w.message) for w in caught) == 1


def test_learning_rate_monitor_logs_the_rate_of_the_previous_step(tmp_path):
    options = {"callbacks": [LearningRateMonitor("step")], "log_every_n_steps": 1}
    logger = CSVLogger(tmp_path)
    _, steps = fit(Classifier(), tmp_path, logger=logger, **options)
    logged = pandas.read_csv(f"{logger.log_dir}/metrics.csv")["lr-CLR"].dropna().unique().tolist()
    assert logged == pytest.approx([0.0, *(step.rate for step in steps[:-1])])


def test_a_checkpoint_of_lightning_keeps_the_state(tmp_path):
    trainer, steps = fit(Classifier(), tmp_path)
    optimizer = trainer.optimizers[0]
    optimizer.param_groups[0].update(max_lr=0.7, skipped=torch.tensor(3))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)["optimizer_states"][0]
    restored = CLR(Classifier().parameters())
    restored.load_state_dict(stored)
    group = restored.param_groups[0]
    assert group["lr"].item() == steps[-1].rate
    assert (group["max_lr"], group["skipped"].item()) == (0.7, 3)
