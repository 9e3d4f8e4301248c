"""ShallowNet: one convolution over time and space, then average pooling."""

from typing import ClassVar

import torch
from torch import nn

from ubp.brain.base import BrainEncoder
from ubp.brain.convolve import TimeThenSpace, window_count

N_FILTERS = 40
TIME_WIDTH = 25
POOL_WIDTH, POOL_STRIDE = 51, 5


class ShallowNet(BrainEncoder):
    """Shallow ConvNet of Schirrmeister et al. 2017, as an encoder.

    40 filters over 25 samples, 40 filters over all channels, batch norm, ELU, average pool 51 with stride 5, dropout,
    then the residual head. Features: ``40 (floor((n_times - 75) / 5) + 1)``, that is 1440 for 250 samples.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial; at least 75 samples.
    embed_dim : int, default 1024
        Length of the embedding.
    dropout : float, default 0.5
        Dropout probability after the pool and in the head.

    Notes
    -----
    Schirrmeister et al. 2017, "Deep learning with convolutional neural networks for EEG decoding and visualization",
    Human Brain Mapping 38, 5391-5420. Differences from it, all taken from NICE (Song et al. 2024, "Decoding natural
    images from EEG for object recognition", ICLR) and the released UBP program: ELU in place of square and logarithm,
    pool 51/5 in place of 75/15, the head in place of the classifier, no max-norm. Difference from NICE: the
    convolutions have no bias, which the batch norm would cancel. Widths are in samples, so they follow ``sfreq``.
    """

    minimum_times: ClassVar[int] = TIME_WIDTH + POOL_WIDTH - 1

    def __init__(self, n_channels: int, n_times: int, embed_dim: int = 1024, dropout: float = 0.5) -> None:
        super().__init__(n_channels, n_times, embed_dim, dropout)
        self.front = nn.Sequential(
            TimeThenSpace(n_channels, N_FILTERS, TIME_WIDTH),
            nn.BatchNorm1d(N_FILTERS),
            nn.ELU(),
            nn.AvgPool1d(POOL_WIDTH, POOL_STRIDE),
            nn.Dropout(dropout),
        )

    @staticmethod
    def feature_count(n_channels: int, n_times: int) -> int:
        """``40 (floor((n_times - 75) / 5) + 1)``."""
        return N_FILTERS * window_count(window_count(n_times, TIME_WIDTH), POOL_WIDTH, POOL_STRIDE)

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals to (batch, 40, n_windows)."""
        return self.front(signals)
