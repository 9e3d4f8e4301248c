"""EEGNet: a compact network of temporal, spatial and temporal filters."""

from typing import ClassVar

import torch
from torch import nn

from ubp.brain.base import BrainEncoder
from ubp.brain.convolve import window_count

F1, D, F2 = 8, 2, 16
TIME_WIDTH, SECOND_WIDTH = 64, 16
POOL = 2


class EEGNet(BrainEncoder):
    """EEGNet-8,2 of Lawhern et al. 2018, as an encoder.

    F1 = 8 filters over 64 samples, batch norm, F1 D = 16 filters over all channels, batch norm, ELU, average pool 2,
    dropout, F2 = 16 filters over 16 samples, batch norm, ELU, dropout of whole feature maps, then the residual head.
    Features: ``16 (floor((n_times - 63) / 2) - 15)``, that is 1248 for 250 samples.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial; at least 95 samples.
    embed_dim : int, default 1024
        Length of the embedding.
    dropout : float, default 0.5
        Dropout probability after each stage and in the head.

    Notes
    -----
    Lawhern et al. 2018, "EEGNet: a compact convolutional neural network for EEG-based brain-computer interfaces",
    Journal of Neural Engineering 15, 056013. Differences from it, taken from NICE (Song et al. 2024, ICLR) and the
    released UBP program: no padding, full in place of depthwise and separable convolutions, one average pool of 2 in
    place of 4 and 8, the head in place of the classifier, no max-norm. Difference from NICE: the convolutions have no
    bias, which the batch norm would cancel. A filter of 64 samples is half a second at the 128 Hz of Lawhern et al.
    """

    minimum_times: ClassVar[int] = POOL * SECOND_WIDTH + TIME_WIDTH - 1

    def __init__(self, n_channels: int, n_times: int, embed_dim: int = 1024, dropout: float = 0.5) -> None:
        super().__init__(n_channels, n_times, embed_dim, dropout)
        self.front = nn.Sequential(
            nn.Conv2d(1, F1, (1, TIME_WIDTH), bias=False),
            nn.BatchNorm2d(F1),
            nn.Conv2d(F1, F1 * D, (n_channels, 1), bias=False),
            nn.Flatten(2),
            nn.BatchNorm1d(F1 * D),
            nn.ELU(),
            nn.AvgPool1d(POOL),
            nn.Dropout(dropout),
            nn.Conv1d(F1 * D, F2, SECOND_WIDTH, bias=False),
            nn.BatchNorm1d(F2),
            nn.ELU(),
            nn.Dropout1d(dropout),
        )

    @staticmethod
    def feature_count(n_channels: int, n_times: int) -> int:
        """``16 (floor((n_times - 63) / 2) - 15)``."""
        return F2 * window_count(window_count(n_times, TIME_WIDTH) // POOL, SECOND_WIDTH)

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals to (batch, 16, n_windows)."""
        return self.front(signals.unsqueeze(1))
