"""The task of all examples: scikit-learn's digits, 1,792 images of 8×8 pixels, in a fixed order.

Every example trains with batches of 128 images, so that all of them take the same steps.
"""

import sklearn.datasets
import torch
from torch import nn
from torch.utils.data import TensorDataset

EPOCHS = 5


def load_digits() -> TensorDataset:
    """Images of shape (64,) with values in [0, 1], and labels: 14 batches of 128."""
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    return TensorDataset(
        torch.tensor(images[:1792] / 16, dtype=torch.float32), torch.tensor(labels[:1792])
    )


def build_model() -> nn.Module:
    """A network with one hidden layer, the same at each call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
