"""DeepNet: four convolution and max-pool blocks."""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from ubp.brain.base import BrainEncoder
from ubp.brain.convolve import TimeThenSpace, window_count

FILTERS = (25, 50, 100, 200)
WIDTH = 10
POOL = 2


def _shortest() -> int:
    n_times = 1
    for _ in FILTERS:
        n_times = n_times * POOL + WIDTH - 1
    return n_times


class DeepNet(BrainEncoder):
    """Deep ConvNet of Schirrmeister et al. 2017, as an encoder.

    Block 1: 25 filters over 10 samples, 25 filters over all channels. Blocks 2 to 4: 50, 100 and 200 filters over 10
    samples. Each block goes on with batch norm, ELU, max pool 2 and dropout. Then the residual head. Features: 200
    times n_times after ``n <- floor((n - 9) / 2)`` four times, that is 1400 for 250 samples.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial; at least 151 samples.
    embed_dim : int, default 1024
        Length of the embedding.
    dropout : float, default 0.5
        Dropout probability after each block and in the head.

    Notes
    -----
    Schirrmeister et al. 2017, "Deep learning with convolutional neural networks for EEG decoding and visualization",
    Human Brain Mapping 38, 5391-5420 (Deep4Net). Differences from it, taken from NICE (Song et al. 2024, ICLR) and the
    released UBP program: max pool 2/2 in place of 3/3, dropout after a block and not before it, the head in place of
    the classifier, no max-norm. Difference from NICE: the convolutions have no bias, which the batch norm would cancel.
    """

    minimum_times: ClassVar[int] = _shortest()

    def __init__(self, n_channels: int, n_times: int, embed_dim: int = 1024, dropout: float = 0.5) -> None:
        super().__init__(n_channels, n_times, embed_dim, dropout)
        convolutions: list[nn.Module] = [TimeThenSpace(n_channels, FILTERS[0], WIDTH)]
        convolutions += [nn.Conv1d(before, after, WIDTH, bias=False) for before, after in pairwise(FILTERS)]
        self.front = nn.Sequential(
            *(
                nn.Sequential(convolution, nn.BatchNorm1d(n_filters), nn.ELU(), nn.MaxPool1d(POOL), nn.Dropout(dropout))
                for convolution, n_filters in zip(convolutions, FILTERS, strict=True)
            )
        )

    @staticmethod
    def feature_count(n_channels: int, n_times: int) -> int:
        """200 times what four blocks leave of n_times."""
        for _ in FILTERS:
            n_times = window_count(n_times, WIDTH) // POOL
        return FILTERS[-1] * n_times

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals to (batch, 200, n_windows)."""
        return self.front(signals)
