"""Convolution over time and then over channels, done as one."""

import torch
from torch import nn
from torch.nn import functional as F


def window_count(n_times: int, width: int, stride: int = 1) -> int:
    """Number of windows of a width that fit in n_times samples: ``floor((n_times - width) / stride) + 1``."""
    return (n_times - width) // stride + 1


class TimeThenSpace(nn.Module):
    """Filters over time followed by filters over all channels, with nothing between them.

    ``y[o, t] = sum_i sum_c S[o, i, c] sum_k W[i, k] x[c, t + k]``

    Both steps are linear, so the two kernels are multiplied first, ``K[o, c, k] = sum_i S[o, i, c] W[i, k]``, and the
    signals are convolved once. Values and gradients are those of the two steps, but the (batch, n_filters,
    n_channels, n_times) array between them, by far the largest of the network, is never made.

    Parameters
    ----------
    n_channels : int
        Channels of the signals.
    n_filters : int
        Temporal filters, and as many spatial ones.
    width : int
        Length of the temporal filters in samples.

    Notes
    -----
    There is no bias: a batch norm follows, which would take it out again.
    """

    def __init__(self, n_channels: int, n_filters: int, width: int) -> None:
        super().__init__()
        self.time = nn.Conv2d(1, n_filters, (1, width), bias=False)
        self.space = nn.Conv2d(n_filters, n_filters, (n_channels, 1), bias=False)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals (batch, n_channels, n_times) to (batch, n_filters, n_times - width + 1)."""
        kernel = torch.einsum("oic,ik->ock", self.space.weight[..., 0], self.time.weight[:, 0, 0])
        return F.conv1d(signals, kernel)
