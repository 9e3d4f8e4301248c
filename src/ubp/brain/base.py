"""What all brain encoders share: checked sizes in, embeddings out."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from ubp.brain.head import ResidualHead
from ubp.errors import InputError


class SignalEncoder(nn.Module, ABC):
    """A map from signals, and one from image vectors, into one space.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial.

    Raises
    ------
    InputError
        A size below one.
    """

    uses_subject: ClassVar[bool] = False
    """Whether `forward` takes the training subject of each trial as well."""

    def __init__(self, n_channels: int, n_times: int) -> None:
        super().__init__()
        for what, value in (("n_channels", n_channels), ("n_times", n_times)):
            if value < 1:
                raise InputError(
                    f"{what} is {value} for the brain encoder {type(self).__name__}; it must be at least 1"
                )
        self.n_channels = n_channels
        self.n_times = n_times

    def images(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map image vectors (n, vision_dim) to where signals are embedded; the same, unless a subclass has its own."""
        return vectors

    def check(self, signals: torch.Tensor) -> None:
        """Refuse signals of another shape than (batch, n_channels, n_times)."""
        if signals.ndim != 3 or signals.shape[1:] != (self.n_channels, self.n_times):
            raise InputError(
                f"The signals have shape {tuple(signals.shape)}, but this {type(self).__name__} was made for "
                f"(batch, {self.n_channels}, {self.n_times}); select the same channels and window as in training"
            )


class BrainEncoder(SignalEncoder):
    """A map from signals (batch, n_channels, n_times) to embeddings (batch, embed_dim).

    A subclass says the shortest window it can serve, how many features a window gives, and how to compute them.
    One that also wants to know whose signals they are sets ``uses_subject``; it takes ``n_subjects`` when it is made,
    and ``forward(signals, subject)``.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial.
    embed_dim : int, default 1024
        Length of the embedding.
    dropout : float, default 0.5
        Dropout probability of all its dropout layers, in [0, 1).

    Raises
    ------
    InputError
        A size below one, a dropout outside [0, 1), or a window shorter than ``minimum_times``.
    """

    minimum_times: ClassVar[int]
    """The smallest n_times this encoder can serve."""

    def __init__(self, n_channels: int, n_times: int, embed_dim: int = 1024, dropout: float = 0.5) -> None:
        super().__init__(n_channels, n_times)
        name = type(self).__name__
        if embed_dim < 1:
            raise InputError(f"embed_dim is {embed_dim} for the brain encoder {name}; it must be at least 1")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout} for the brain encoder {name}; it must be at least 0 and below 1")
        if n_times < self.minimum_times:
            raise InputError(
                f"The window has {n_times} samples, but {name} needs at least {self.minimum_times}; "
                "use a longer window, a higher sampling rate or EEGProject, which works with any length"
            )
        self.embed_dim = embed_dim
        self.head = self.make_head(dropout)

    def make_head(self, dropout: float) -> nn.Module:
        """Make the last stage, from flattened features to the embedding."""
        return ResidualHead(self.feature_count(self.n_channels, self.n_times), self.embed_dim, dropout)

    @staticmethod
    def feature_count(n_channels: int, n_times: int) -> int:
        """Number of features the head receives for a window of n_channels x n_times; needed by `make_head`."""
        raise NotImplementedError

    @abstractmethod
    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Compute features (batch, ...), to be flattened, from signals (batch, n_channels, n_times)."""

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Embed signals.

        Parameters
        ----------
        signals : Tensor of shape (batch, n_channels, n_times), floating point

        Returns
        -------
        Tensor of shape (batch, embed_dim)
            Not normalised to unit length.

        Raises
        ------
        InputError
            The signals have another shape than the encoder was made for.
        """
        self.check(signals)
        return self.head(self.features(signals).flatten(1))
