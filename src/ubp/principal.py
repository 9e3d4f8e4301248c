"""Fixed linear maps of vectors, taken from training vectors: centred, scaled, and their principal components."""

import torch
from torch import Tensor, nn


class Features(nn.Module):
    """A fixed linear map to features of mean 0 and mean square 1: ``(x - mean) axes^T / scale``.

    Parameters
    ----------
    size : int
        Length of a vector.
    n_components : int, optional
        Principal components that are kept; without it there are no axes and all of the vector is kept.
    """

    mean: Tensor
    axes: Tensor | None
    scale: Tensor

    def __init__(self, size: int, n_components: int | None = None) -> None:
        super().__init__()
        self.size = size if n_components is None else n_components
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("axes", None if n_components is None else torch.zeros(n_components, size))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, vectors: Tensor) -> None:
        """Take mean, axes and scale from training vectors (n, size); computed in float64 on the CPU."""
        x = vectors.detach().cpu().double()
        mean = x.mean(dim=0)
        x = x - mean
        if self.axes is not None:
            axes = principal_axes(x, self.size)
            self.axes.copy_(axes)
            x = x @ axes.T
        self.mean.copy_(mean)
        self.scale.copy_(x.square().mean().sqrt().clamp(min=torch.finfo(torch.float32).tiny))

    def forward(self, vectors: Tensor) -> Tensor:
        """Features (n, n_features) of vectors (n, size)."""
        centred = vectors - self.mean
        return (centred if self.axes is None else centred @ self.axes.T) / self.scale


def principal_axes(centred: Tensor, n: int) -> Tensor:
    """The `n` unit directions of largest variance of rows of mean 0, largest variance first.

    The largest entry of each is positive.

    Parameters
    ----------
    centred : Tensor of shape (n_rows, size)
    n : int
        At most `n_rows` and at most `size`; the last of `n_rows` rows of mean 0 has no variance and so no certain axis.

    Returns
    -------
    Tensor of shape (n, size)
    """
    n_rows, size = centred.shape
    if n_rows < size:
        rows = torch.linalg.eigh(centred @ centred.T).eigenvectors.T.flip(0)[:n]
        axes = torch.nn.functional.normalize(rows @ centred, dim=1)
    else:
        axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.T.flip(0)[:n]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return axes * largest.sign()
