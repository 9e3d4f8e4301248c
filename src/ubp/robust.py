"""Where values lie and how far they spread, whatever a few of them do."""

import torch
from torch import Tensor

NORMAL_MAD = 1.4826  # standard deviations of a normal variable in its median absolute deviation


def median(values: Tensor, dim: int = 0) -> Tensor:
    """Median along a dimension without the values that are not numbers; the mean of the middle two of an even count."""
    return values.nanquantile(0.5, dim)


def spread(values: Tensor) -> Tensor:
    r"""Robust standard deviation of shape (): :math:`1.4826\,\mathrm{median}|s - \mathrm{median}(s)|`.

    Where more than half of the values are equal, it is the mean distance from the median times
    :math:`\sqrt{\pi / 2}`, which is also that of a normal variable.
    """
    distance = (values - median(values)).abs()
    robust, mean = NORMAL_MAD * median(distance), (torch.pi / 2) ** 0.5 * distance.nanmean()
    return torch.where(robust > 0, robust, mean)


def robust_z(values: Tensor) -> Tensor:
    r"""Distance from the median in robust standard deviations.

    .. math:: z = \frac{s - \mathrm{median}(s)}{1.4826\,\mathrm{median}|s - \mathrm{median}(s)|}

    Equal values have z = 0, and so has one alone; see :func:`spread` for many equal ones.

    Parameters
    ----------
    values : Tensor of shape (n,)
        Not-a-number where there is none, which gives not-a-number.

    Examples
    --------
    >>> robust_z(torch.tensor([1.0, 2.0, 3.0, 4.0, 99.0])).round(decimals=2)
    tensor([-1.3500, -0.6700,  0.0000,  0.6700, 65.4300])
    """
    scale = spread(values)
    return (values - median(values)) / torch.where(scale > 0, scale, torch.ones_like(scale))
