"""Optimizers that CLR is compared with and that `torch.optim` does not have."""
