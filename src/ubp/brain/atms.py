"""ATM-S: a transformer whose tokens are channels, then temporal-spatial convolution."""

from typing import ClassVar

import torch
from torch import nn

from ubp.brain.transformer import TransformerLayer, sinusoids
from ubp.brain.tsconv import TSConv
from ubp.errors import InputError

N_HEADS = 4
N_LAYERS = 1
D_HIDDEN = 256


class ATMS(TSConv):
    """Adaptive Thinking Mapper with the shallow convolution.

    The time course of each channel is one token: a linear map from n_times to ``d_model = n_times``, plus the
    sinusoid of the channel's place. One more token says whose signals they are. After one transformer layer (4 heads,
    256 hidden units, GELU) and a layer norm the subject's token is dropped, and the others, again n_channels x
    n_times, go through the temporal-spatial convolution and the residual head.

    The token of training subject s is ``shared + own[s]``, that of any other subject is ``shared``.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial; at least 75 samples.
    embed_dim : int, default 1024
        Length of the embedding.
    dropout : float, default 0.5
        Dropout probability of the convolution and the head.
    attention_dropout : float, default 0.25
        Dropout probability of the tokens and the transformer.
    n_subjects : int, default 0
        Subjects that are trained on.

    Notes
    -----
    Li et al. 2024, "Visual decoding and reconstruction via EEG embeddings with guided diffusion", NeurIPS. The channels
    as tokens are those of Liu et al. 2024, "iTransformer", ICLR. The transformer holds, for T samples, H = 4
    ``floor(T / 4)``, F = 256 and S subjects, ``(T^2 + T) + (3 T H + 2 H) + (H T + T) + (2 T F + T + F) + 6 T +
    (S + 1) T`` parameters. Differences from the released program: it keeps the first n_channels tokens, that is the
    subject's and all but the last channel; it never adds the position embedding; the shared token is another vector,
    which no training trial reaches, so that an unseen subject gets a random one; and there is a 1 x 1 convolution
    between two linear maps, which adds no function and is left out here.
    """

    uses_subject: ClassVar[bool] = True

    def __init__(
        self,
        n_channels: int,
        n_times: int,
        embed_dim: int = 1024,
        dropout: float = 0.5,
        attention_dropout: float = 0.25,
        n_subjects: int = 0,
    ) -> None:
        super().__init__(n_channels, n_times, embed_dim, dropout)
        self.token = nn.Linear(n_times, n_times)
        self.shared = nn.Parameter(torch.randn(n_times))
        self.own = nn.Parameter(torch.zeros(n_subjects, n_times)) if n_subjects else None
        self.position: torch.Tensor
        self.register_buffer("position", sinusoids(n_channels, n_times), persistent=False)
        self.token_dropout = nn.Dropout(attention_dropout)
        self.transformer = nn.Sequential(
            *(TransformerLayer(n_times, N_HEADS, D_HIDDEN, attention_dropout) for _ in range(N_LAYERS)),
            nn.LayerNorm(n_times),
        )

    def tokens(self, signals: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens (batch, 1 + n_channels, n_times), the subject's first, of signals (batch, n_channels, n_times)."""
        who = self.shared.expand(signals.shape[0], -1)
        if subject is not None:
            if self.own is None:
                raise InputError("This ATMS was made without subjects; give n_subjects, or call it with signals alone.")
            who = who + self.own[subject]
        channels = self.token(signals) + self.position
        return self.token_dropout(torch.cat([who[:, None].to(channels.dtype), channels], dim=1))

    def features(self, signals: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """Map signals to (batch, 40, 1, n_windows)."""
        return super().features(self.transformer(self.tokens(signals, subject))[:, 1:])

    def forward(self, signals: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """Embed signals.

        Parameters
        ----------
        signals : Tensor of shape (batch, n_channels, n_times), floating point
        subject : Tensor of shape (batch,), int64, optional
            Number of each trial's training subject, from 0; without it the subject is an unseen one.

        Returns
        -------
        Tensor of shape (batch, embed_dim)
            Not normalised to unit length.

        Raises
        ------
        InputError
            The signals have another shape than the encoder was made for, or there is no table of subjects.
        """
        self.check(signals)
        return self.head(self.features(signals, subject).flatten(1))
