"""EEGProject: a linear map of the whole window."""

from typing import ClassVar

import torch

from ubp.brain.base import BrainEncoder


class EEGProject(BrainEncoder):
    """Flatten the window and project it; the encoder of the published results.

    ``z = W vec(x) + b``, then ``y = LayerNorm(z + Dropout(V GELU(z) + c))``.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial; any size works, one sample included.
    embed_dim : int, default 1024
        Length of the embedding.
    dropout : float, default 0.3
        Dropout probability of the residual branch.

    Notes
    -----
    Wu et al. 2025, "Bridging the Vision-Brain Gap with an Uncertainty-Aware Blur Prior", without difference.
    """

    minimum_times: ClassVar[int] = 1

    def __init__(self, n_channels: int, n_times: int, embed_dim: int = 1024, dropout: float = 0.3) -> None:
        super().__init__(n_channels, n_times, embed_dim, dropout)

    @staticmethod
    def feature_count(n_channels: int, n_times: int) -> int:
        """``n_channels n_times``."""
        return n_channels * n_times

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Return the signals as they are."""
        return signals
