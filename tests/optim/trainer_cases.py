"""The Trainer of Transformers on the task of the examples. Importing this takes seconds."""

from digits import load_digits
from transformers import Trainer, TrainingArguments
from with_transformers import Classifier, NoSchedule

from clr import CLR

__all__ = ["Classifier", "NoSchedule", "trainer_for", "watched_model"]


def trainer_for(folder, model, optimizer, schedule=None, **options):
    data = [{"images": images, "labels": label} for images, label in load_digits()]
    arguments = TrainingArguments(
        str(folder),
        max_grad_norm=0.0,
        per_device_train_batch_size=128,
        max_steps=8,
        train_sampling_strategy="sequential",
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **{"save_strategy": "no", **options},
    )
    return Trainer(model, arguments, train_dataset=data, optimizers=(optimizer, schedule))


def watched_model():
    """The model and optimizer of the example, which gets each loss from a forward hook."""
    model = Classifier()
    optimizer = CLR(model.parameters())
    model.register_forward_hook(lambda _, inputs, output: optimizer.watch_loss(output["loss"]))
    return model, optimizer
