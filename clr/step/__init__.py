"""Parts of `CLR.step`: the loss, the norm of the gradient, the update, the published rate."""
