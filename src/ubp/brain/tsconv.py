"""TSConv: temporal filters, pooling, spatial filters."""

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ubp.brain.base import BrainEncoder
from ubp.brain.convolve import window_count

N_FILTERS = 40
TIME_WIDTH = 25
POOL_WIDTH, POOL_STRIDE = 51, 5


class TSConv(BrainEncoder):
    """Temporal-spatial convolution of NICE.

    40 filters over 25 samples, average pool 51 with stride 5, batch norm, ELU, 40 filters over all channels, batch
    norm, ELU, dropout, then the residual head. Features: ``40 (floor((n_times - 75) / 5) + 1)``, that is 1440 for
    250 samples.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial; at least 75 samples.
    embed_dim : int, default 1024
        Length of the embedding.
    dropout : float, default 0.5
        Dropout probability after the spatial filters and in the head.

    Notes
    -----
    Song et al. 2024, "Decoding natural images from EEG for object recognition", ICLR. Differences: the convolutions
    have no bias, which the batch norm would cancel, and the moving average is taken before the temporal filters. Both
    are linear and the same at every sample, so the order changes no value, but only every fifth filter output is made.
    """

    minimum_times: ClassVar[int] = TIME_WIDTH + POOL_WIDTH - 1

    def __init__(self, n_channels: int, n_times: int, embed_dim: int = 1024, dropout: float = 0.5) -> None:
        super().__init__(n_channels, n_times, embed_dim, dropout)
        self.front = nn.Sequential(
            nn.Conv2d(1, N_FILTERS, (1, TIME_WIDTH), stride=(1, POOL_STRIDE), bias=False),
            nn.BatchNorm2d(N_FILTERS),
            nn.ELU(),
            nn.Conv2d(N_FILTERS, N_FILTERS, (n_channels, 1), bias=False),
            nn.BatchNorm2d(N_FILTERS),
            nn.ELU(),
            nn.Dropout(dropout),
        )

    @staticmethod
    def feature_count(n_channels: int, n_times: int) -> int:
        """``40 (floor((n_times - 75) / 5) + 1)``."""
        return N_FILTERS * window_count(window_count(n_times, TIME_WIDTH), POOL_WIDTH, POOL_STRIDE)

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals to (batch, 40, 1, n_windows)."""
        return self.front(F.avg_pool1d(signals, POOL_WIDTH, stride=1).unsqueeze(1))
