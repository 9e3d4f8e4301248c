"""How far two sets of vectors are apart as distributions, whichever vector of one belongs to which of the other."""

import torch
from torch import Tensor
from torch.nn import functional

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Squared widths of the kernels, in medians of the squared distances."""


def squared_discrepancy(first: Tensor, second: Tensor, group: Tensor | None = None) -> Tensor:
    r"""Squared maximum mean discrepancy, under a mean of Gaussian kernels.

    .. math:: D^2 = \frac{1}{n^2} \sum_{ij} k(x_i, x_j) + \frac{1}{m^2} \sum_{ij} k(y_i, y_j)
        - \frac{2}{nm} \sum_{ij} k(x_i, y_j), \qquad
        k(x, y) = \frac{1}{|C|} \sum_{c \in C} e^{-\|x - y\|^2 / (c\,\omega)}

    with the multiples `C` of `MULTIPLES`, and the median :math:`\omega` of all squared distances between two of
    the vectors, through which no gradient flows. With groups `g`, those of `x` are compared with all `y` one by one,

    .. math:: \sum_g \frac{n_g}{n} D^2(x_g, y)

    with the same kernels for all. This is the biased estimate: it is at least 0 but for rounding, 0 when both sets are
    the same, at most 2, and defined for sets of one vector, but of the order of :math:`1/n + 1/m` for two samples of
    one distribution.

    Parameters
    ----------
    first : Tensor of shape (n, dim)
        `x`, any floating type; computed in float32, or float64 where both are that.
    second : Tensor of shape (m, dim)
        `y`.
    group : Tensor of shape (n,), int64, optional
        Group of each `x`, any numbers; by default all are of one.

    Returns
    -------
    Tensor of shape (), float32 or float64

    Raises
    ------
    ValueError
        When a set is empty, or the shapes do not belong together.

    Notes
    -----
    Gretton et al. 2012, "A kernel two-sample test", JMLR 13: the square of their biased statistic, with the median as
    they advise. Several widths as in Long et al. 2015, "Learning transferable features with deep adaptation networks",
    ICML.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    >>> squared_discrepancy(x, x.flip(0)).item()
    0.0
    """
    lengths = (len(first), len(second))
    if first.ndim != 2 or second.ndim != 2 or first.shape[1:] != second.shape[1:] or not all(lengths):
        raise ValueError(
            f"The sets have shapes {tuple(first.shape)} and {tuple(second.shape)}; expected (n, dim) and (m, dim), "
            "with at least one vector each."
        )
    if group is not None and group.shape != first.shape[:1]:
        raise ValueError(f"There are {tuple(group.shape)} groups for {len(first)} vectors; expected one for each.")
    both_double = first.dtype == second.dtype == torch.float64
    dtype = torch.float64 if both_double else torch.float32
    kernel = gaussian_kernel(torch.cat([first.to(dtype), second.to(dtype)]))
    number = torch.zeros(len(first), dtype=torch.int64, device=first.device)
    if group is not None:
        number = torch.unique(group, return_inverse=True)[1]
    member = functional.one_hot(number).T.to(dtype)
    size = member.sum(1, keepdim=True)
    weight = torch.cat([member / size, torch.full_like(size, -1 / len(second)).expand(-1, len(second))], 1)
    apart = (weight @ kernel * weight).sum(1)
    return (apart * size[:, 0]).sum() / len(first)


def gaussian_kernel(vectors: Tensor) -> Tensor:
    """The kernel of :func:`squared_discrepancy` between all vectors (n, dim), of shape (n, n).

    Where at least half of the distances are 0, their mean takes the place of the median; where all are, the kernel
    is 1.
    """
    # distances do not depend on the origin, and are more exact near it
    centred = vectors - vectors.mean(0).detach()
    square = centred.square().sum(1)
    other = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    distance = ((square[:, None] + square - 2 * centred @ centred.T) * other).clamp(min=0)
    scale = _scale(distance.detach()[other])
    return torch.stack([(-distance / (multiple * scale)).exp() for multiple in MULTIPLES]).mean(0)


def _scale(distances: Tensor) -> Tensor:
    """Median of squared distances; their mean where that is 0, and 1 where this is too, or there are none.

    What is so small that a gradient divided by it is not finite counts as 0.
    """
    if not len(distances):
        return torch.ones((), dtype=distances.dtype, device=distances.device)
    number = torch.finfo(distances.dtype)
    least = number.tiny / number.eps
    median, mean = distances.median(), distances.mean()
    scale = torch.where(median > least, median, mean)
    return torch.where(scale > least, scale, torch.ones_like(scale))
