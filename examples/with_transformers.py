"""The Trainer of Transformers, with gradient accumulation: python examples/with_transformers.py"""

import tempfile

from digits import EPOCHS, build_model, load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainingArguments

from clr import CLR


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = build_model()

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.model(images)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


class NoSchedule(LambdaLR):
    """The scheduler that the Trainer asks for: it changes nothing, and reports the rate of CLR."""

    def step(self, epoch: int | None = None) -> None:
        pass

    def get_last_lr(self) -> list[float]:
        return [group["lr"].item() for group in self.optimizer.param_groups]


def main() -> None:
    model = Classifier()
    clr = CLR(model.parameters())
    # The Trainer calls step() without the loss: hand over each loss that the model computes.
    model.register_forward_hook(lambda _, inputs, output: clr.watch_loss(output["loss"]))
    arguments = TrainingArguments(
        tempfile.mkdtemp(),
        max_grad_norm=0.0,  # the default, 1.0, clips: CLR needs the gradient unclipped
        gradient_accumulation_steps=2,
        per_device_train_batch_size=64,
        num_train_epochs=EPOCHS,
        train_sampling_strategy="sequential",
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )
    data = [{"images": images, "labels": label} for images, label in load_digits()]
    schedule = NoSchedule(clr, lambda step: 1.0)
    trainer = Trainer(model, arguments, train_dataset=data, optimizers=(clr, schedule))
    trainer.train()  # prints the loss and the rate of each epoch
    loss = trainer.state.log_history[-2]["loss"]
    assert loss < 0.5, "CLR did not learn the digits"


if __name__ == "__main__":
    main()
