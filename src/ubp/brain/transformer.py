"""A transformer layer over tokens, and fixed sinusoids that tell positions apart."""

import math

import torch
from torch import nn


class SelfAttention(nn.Module):
    """Scaled dot-product attention of several heads whose size need not divide the width.

    ``A = softmax(Q K^T / sqrt(d_head))`` and ``A V`` in each head, ``d_head = floor(d_model / n_heads)``; the heads
    are joined and mapped back to `d_model`.

    Parameters
    ----------
    d_model, n_heads : int
    dropout : float
        Of the weights A.

    Notes
    -----
    Keys have no bias: it would add the same to all of a query's scores, which the softmax takes out again.
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        width = n_heads * self.d_head
        self.query = nn.Linear(d_model, width)
        self.key = nn.Linear(d_model, width, bias=False)
        self.value = nn.Linear(d_model, width)
        self.out = nn.Linear(width, d_model)
        self.dropout = nn.Dropout(dropout)

    def _heads(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.unflatten(-1, (self.n_heads, self.d_head)).transpose(1, 2)

    def attention(self, tokens: torch.Tensor) -> torch.Tensor:
        """Weights (batch, n_heads, n_tokens, n_tokens) for tokens (batch, n_tokens, d_model); each row sums to 1."""
        query, key = self._heads(self.query(tokens)), self._heads(self.key(tokens))
        return (query @ key.transpose(-1, -2) / math.sqrt(self.d_head)).softmax(dim=-1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens (batch, n_tokens, d_model) to the same shape."""
        attended = self.dropout(self.attention(tokens)) @ self._heads(self.value(tokens))
        return self.out(attended.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """Attention and a two-layer network on each token, both residual and followed by layer norm.

    ``z = LayerNorm(x + Dropout(Attention(x)))``, ``y = LayerNorm(z + Dropout(W2 Dropout(GELU(W1 z))))``.

    Parameters
    ----------
    d_model, n_heads, d_hidden : int
        Width of a token, heads, and units between W1 and W2.
    dropout : float
    """

    def __init__(self, d_model: int, n_heads: int, d_hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(d_model, n_heads, dropout)
        self.hidden = nn.Sequential(
            nn.Linear(d_model, d_hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(d_hidden, d_model),
        )
        self.first_norm, self.second_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens (batch, n_tokens, d_model) to the same shape."""
        tokens = self.first_norm(tokens + self.dropout(self.attention(tokens)))
        return self.second_norm(tokens + self.dropout(self.hidden(tokens)))


def sinusoids(n_positions: int, d_model: int) -> torch.Tensor:
    """Fixed position embeddings: ``sin(p w_k)`` in column 2k and ``cos(p w_k)`` in 2k + 1, ``w_k = 10000^(-2k / d)``.

    Parameters
    ----------
    n_positions, d_model : int

    Returns
    -------
    Tensor of shape (n_positions, d_model), float32

    Notes
    -----
    Vaswani et al. 2017, "Attention is all you need", NeurIPS.
    """
    frequency = 10000.0 ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
    angle = torch.arange(n_positions, dtype=torch.float64)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :d_model].float()
