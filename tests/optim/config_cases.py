"""The optimizers of configs/optimizer on a small real task, and the step that each should take."""

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from clr.config import CONFIGS, load
from clr.training.factories import call_factory
from clr.training.modes import set_optimizer_mode
from clr.training.optimizers import needs_curvature, take_step
from clr.training.schedules import Schedule

NAMES = sorted(path.stem for path in Path(CONFIGS, "optimizer").glob("*.yaml"))
STEPS = 8


def digits():
    """64 images and their labels, in float64."""
    data = load_digits()
    return torch.tensor(data.data[:64] / 16), torch.tensor(data.target[:64])


class Training:
    """A small network that one of the optimizers trains on 64 digits, with `groups` groups."""

    def __init__(self, name, groups=1, steps=STEPS, steps_taken=0, dtype=torch.float64):
        self.config = load([f"optimizer={name}"]).optimizer
        torch.manual_seed(0)
        layers = nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)
        self.model = nn.Sequential(*layers).to(dtype)
        self.images, self.labels = digits()
        self.images = self.images.to(dtype)
        params = list(self.model.parameters())
        split = [{"params": params[:1]}, {"params": params[1:]}] if groups == 2 else params
        self.optimizer = call_factory("optimizer", self.config, split)
        self.schedule = Schedule(self.config, self.optimizer, steps, steps_taken)
        set_optimizer_mode(self.optimizer, training=True)

    def backward(self, network=None, mine=slice(None)):
        """Compute the loss of the images `mine` and its gradients."""
        self.optimizer.zero_grad()
        network = network or self.model
        loss = cross_entropy(network(self.images[mine]), self.labels[mine])
        loss.backward()
        return loss.detach()

    def take_step(self, loss, ranks=None):
        """Step on the gradients, with a curvature of 1 for an optimizer that needs one."""
        curvature = torch.ones(()) if needs_curvature(self.optimizer) else None
        return take_step(self.optimizer, loss, ranks, curvature)

    def step(self, ranks=None, network=None, mine=slice(None)):
        """Train for one step; return its loss and the rate on record."""
        loss = self.backward(network, mine)
        rate, _ = self.take_step(loss, ranks)
        self.schedule.after_step()
        return float(loss), float(rate)

    def parameters(self):
        """The parameters as one vector."""
        return nn.utils.parameters_to_vector(self.model.parameters()).detach().clone()

    def state(self, key):
        """One entry of the optimizer's state of all parameters, as one vector; None without it."""
        values = [self.optimizer.state[p].get(key) for p in self.model.parameters()]
        return None if values[0] is None else torch.cat([value.flatten() for value in values])

    def gradient(self):
        return torch.cat([p.grad.flatten() for p in self.model.parameters()]).clone()


def adam_direction(training, eps=1e-8):
    """m̂ / (√v̂ + eps) of AdamW after a step."""
    (count,) = {int(state["step"]) for state in training.optimizer.state.values()}
    beta1, beta2 = training.optimizer.param_groups[0]["betas"]
    mean = training.state("exp_avg") / (1 - beta1**count)
    return mean / ((training.state("exp_avg_sq") / (1 - beta2**count)).sqrt() + eps)


def prodigy_direction(training):
    """m / (√v + d·eps), with the d that the step has just estimated."""
    group = training.optimizer.param_groups[0]
    root = training.state("exp_avg_sq").sqrt()
    return training.state("exp_avg") / (root + group["d"] * group["eps"])


def schedule_free_adamw_direction(training):
    """g / (√v̂ + eps); the package divides the gradients in place."""
    return training.gradient()


def parameters_or(key):
    """The point that moves by rate · direction: an entry of the state, before it is there θ."""
    return lambda training: training.parameters() if (s := training.state(key)) is None else s


# Methods whose step is not θ ← θ − rate · gradient. The point that takes such a step instead of θ:
# the momentum of D-Adaptation and the interpolation of Schedule-Free follow the step of z.
MOVED = {
    "dadapt_sgd": parameters_or("z"),
    "schedule_free_sgd": parameters_or("z"),
    "schedule_free_adamw": parameters_or("z"),
}
# The direction instead of the gradient, after the step.
DIRECTION = {
    "sgd_momentum": lambda training: training.state("momentum_buffer"),
    "sgd_momentum_cosine": lambda training: training.state("momentum_buffer"),
    "adamw": adam_direction,
    "adamw_cosine": adam_direction,
    "momo": lambda training: training.state("average"),
    "prodigy": prodigy_direction,
    "schedule_free_adamw": schedule_free_adamw_direction,
}
# Weight decay multiplies the parameters by 1 − rate · weight_decay before the step.
DECAYED = ("adamw", "adamw_cosine")
