"""Optimizers with interfaces that PyTorch's own do not have."""

import torch


class OptionalLoss(torch.optim.SGD):
    """Polyak's rate, loss/‖g‖², from the loss that `step` is given."""

    @torch.no_grad()
    def step(self, closure=None, loss=None):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        rate = loss / sum(g.square().sum() for g in gradients)
        self.param_groups[0]["lr"] = rate
        for p in self.param_groups[0]["params"]:
            p -= rate * p.grad


class Switched(torch.optim.SGD):
    """Evaluates with all parameters at 0, where another such optimizer has their average."""

    def __init__(self, params, lr):
        super().__init__(params, lr)
        self.training, self.kept = False, []

    @torch.no_grad()
    def train(self):
        for p, kept in zip(self.param_groups[0]["params"], self.kept, strict=False):
            p.copy_(kept)
        self.training = True

    @torch.no_grad()
    def eval(self):
        self.kept = [p.clone() for p in self.param_groups[0]["params"]]
        for p in self.param_groups[0]["params"]:
            p.zero_()
        self.training = False

    def step(self, closure=None):
        if not self.training:
            raise RuntimeError("step was called in evaluation mode")
        return super().step(closure)


class SameParameters(torch.optim.SGD):
    """Has modes, and evaluates at the parameters that it trains at."""

    def train(self):
        pass

    def eval(self):
        pass


class WithoutRate(torch.optim.Optimizer):
    """Has no `lr` in its param_groups."""

    def __init__(self, params):
        super().__init__(params, {})

    def step(self, closure=None):
        pass


class NeedsClosure(torch.optim.SGD):
    """Evaluates the loss twice in a step, by a closure that its signature calls optional."""

    def step(self, closure=None):
        assert closure is not None, "this optimizer requires a closure"
        closure()
        return super().step(closure)
