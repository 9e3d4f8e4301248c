"""The last stage of every brain encoder: features to an embedding."""

import torch
from torch import nn


class ResidualHead(nn.Module):
    """Linear map, one residual block, layer norm.

    ``z = W x + b``, then ``y = LayerNorm(z + Dropout(V GELU(z) + c))``.

    Parameters
    ----------
    n_features : int
        Length of the flattened features.
    embed_dim : int
        Length of the embedding.
    dropout : float
        Share of the residual branch that is dropped while training.

    Notes
    -----
    It holds ``n_features d + d + d^2 + d + 2 d`` parameters for ``d = embed_dim``.
    This is the projector of NICE (Song et al. 2024) and of the released UBP program (Wu et al. 2025).
    """

    def __init__(self, n_features: int, embed_dim: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(n_features, embed_dim)
        self.residual = nn.Linear(embed_dim, embed_dim)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (batch, n_features) to embeddings (batch, embed_dim)."""
        projected = self.project(features)
        return self.norm(projected + self.dropout(self.residual(self.activation(projected))))
