"""NICE-GA: graph attention over channels, then NICE's convolution."""

import torch
from torch import nn
from torch.nn import functional as F

from ubp.brain.tsconv import TSConv

SLOPE = 0.2


class GraphAttention(nn.Module):
    """One head of graph attention on the complete graph of channels, each channel joined to itself as well.

    ``h_i = W x_i``, ``e_ij = LeakyReLU(a . h_i + b . h_j)``, ``A_ij = exp(e_ij) / sum_k exp(e_ik)``,
    ``y_i = sum_j A_ij h_j + c``; `x_i` is the time course of channel i, the slope of LeakyReLU is 0.2.

    Parameters
    ----------
    n_times : int

    Notes
    -----
    Velickovic et al. 2018, "Graph attention networks", ICLR. All edges exist, so the sums are matrix products. It
    holds ``n_times^2 + 3 n_times`` parameters.
    """

    def __init__(self, n_times: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_times, n_times, bias=False)
        self.receiver, self.sender = (nn.Parameter(torch.empty(1, n_times)) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(n_times))
        for weight in (self.linear.weight, self.receiver, self.sender):
            nn.init.xavier_uniform_(weight)

    def attention(self, mapped: torch.Tensor) -> torch.Tensor:
        """Weights (batch, n_channels, n_channels) for ``W x`` (batch, n_channels, n_times); each row sums to 1."""
        edges = mapped @ self.receiver.T + (mapped @ self.sender.T).transpose(1, 2)
        return F.leaky_relu(edges, SLOPE).softmax(dim=-1)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals (batch, n_channels, n_times) to the same shape."""
        mapped = self.linear(signals)
        return self.attention(mapped) @ mapped + self.bias


class NICEGA(TSConv):
    """NICE with graph attention over channels: ``TSConv(x + Dropout(GraphAttention(x)))``.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial; at least 75 samples.
    embed_dim : int, default 1024
        Length of the embedding.
    dropout : float, default 0.5
        Dropout probability of the convolution and the head.
    attention_dropout : float, default 0.3
        Dropout probability of the graph attention.

    Notes
    -----
    Song et al. 2024, "Decoding natural images from EEG for object recognition", ICLR, with the released sizes: one
    head from n_times to n_times, the complete graph, dropout 0.3. Difference from the released program: there the
    edges of a batch join the channels of its first trial alone, and every other channel meets only itself; here the
    channels of each trial are joined.
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
        self.channels = nn.Sequential(GraphAttention(n_times), nn.Dropout(attention_dropout))

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals to (batch, 40, 1, n_windows)."""
        return super().features(signals + self.channels(signals))
