"""NICE-SA: self-attention over channels, then NICE's convolution."""

import math

import torch
from torch import nn

from ubp.brain.tsconv import TSConv


def _mix(n_channels: int, dropout: float) -> nn.Sequential:
    linear = nn.Linear(n_channels, n_channels)
    nn.init.xavier_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(linear, nn.LayerNorm(n_channels), nn.Dropout(dropout))


class ChannelAttention(nn.Module):
    """Every channel attends to all channels, by the resemblance of their time courses.

    ``Q = f(X)``, ``K = g(X)``, ``A = softmax(Q K^T / sqrt(n_times))``, ``Y = p(A X)``; `f`, `g` and `p` each mix the
    channels at every sample by a linear map, followed by layer norm over channels and dropout.

    Parameters
    ----------
    n_channels : int
    dropout : float
        After each of the three maps.
    """

    def __init__(self, n_channels: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.project = (_mix(n_channels, dropout) for _ in range(3))

    def attention(self, signals: torch.Tensor) -> torch.Tensor:
        """Weights (batch, n_channels, n_channels) for signals (batch, n_channels, n_times); each row sums to 1."""
        over_time = signals.transpose(1, 2)
        query, key = self.query(over_time), self.key(over_time)
        return (query.transpose(1, 2) @ key / math.sqrt(signals.shape[2])).softmax(dim=-1)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals (batch, n_channels, n_times) to the same shape."""
        attended = self.attention(signals) @ signals
        return self.project(attended.transpose(1, 2)).transpose(1, 2)


class NICESA(TSConv):
    """NICE with self-attention over channels: ``TSConv(x + Dropout(ChannelAttention(LayerNorm(x))))``.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial; at least 75 samples.
    embed_dim : int, default 1024
        Length of the embedding.
    dropout : float, default 0.5
        Dropout probability of the convolution and the head.
    attention_dropout : float, default 0.3
        Dropout probability of the attention.

    Notes
    -----
    Song et al. 2024, "Decoding natural images from EEG for object recognition", ICLR, with the released sizes: one
    head, the layer norm over time, dropout 0.3. It holds ``3 (c^2 + 3 c) + 2 n_times`` parameters more than TSConv for
    c channels. Differences from the released program: there the sum over attended channels leaves the signals out, so
    each channel is multiplied by the sum of its weights, which is 1, and attention has no effect. Its
    scale is the root of ``n_times / 30``, not of the length of the compared vectors.
    """

    def __init__(
        self,
        n_channels: int,
        n_times: int,
        embed_dim: int = 1024,
        dropout: float = 0.5,
        attention_dropout: float = 0.3,
    ) -> None:
        super().__init__(n_channels, n_times, embed_dim, dropout)
        self.channels = nn.Sequential(
            nn.LayerNorm(n_times), ChannelAttention(n_channels, attention_dropout), nn.Dropout(attention_dropout)
        )

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals to (batch, 40, 1, n_windows)."""
        return super().features(signals + self.channels(signals))
