"""A linear map of the channels for each subject, before a brain encoder that all share."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ubp.brain.base import SignalEncoder

DROPPED = 0.5


class SubjectLayers(SignalEncoder):
    r"""Maps the channels of each subject before a shared brain encoder.

    .. math:: y = f((I + D_s) x)

    :math:`D_s` starts at 0. In training it is left out at random, for half of the trials, so that the encoder also
    learns to do without; it is left out for a subject that was not trained on.

    Parameters
    ----------
    brain : SignalEncoder
        `f`.
    n_subjects : int
        Subjects that are trained on.

    Notes
    -----
    After the subject layer of Defossez et al. 2023, "Decoding speech perception from non-invasive brain recordings",
    Nature Machine Intelligence, which has no path without a subject.
    """

    uses_subject: ClassVar[bool] = True

    def __init__(self, brain: SignalEncoder, n_subjects: int) -> None:
        super().__init__(brain.n_channels, brain.n_times)
        self.brain = brain
        self.own = nn.Parameter(torch.zeros(n_subjects, brain.n_channels, brain.n_channels))

    def forward(self, signals: Tensor, subject: Tensor | None = None) -> Tensor:
        """Embed signals.

        Parameters
        ----------
        signals : Tensor of shape (batch, n_channels, n_times), floating point
        subject : Tensor of shape (batch,), int64, optional
            Number of each trial's training subject, from 0; without it the subject is an unseen one.

        Returns
        -------
        Tensor of shape (batch, embed_dim)
        """
        self.check(signals)
        inputs: tuple[Tensor, ...] = (signals,)
        if subject is not None:
            maps = self.own[subject]
            if self.training:
                maps = maps * (torch.rand(len(maps), 1, 1, device=maps.device) >= DROPPED)
            inputs = (signals + maps.to(signals.dtype) @ signals,)
            if self.brain.uses_subject:
                inputs = (*inputs, subject)
        embedded: Tensor = self.brain(*inputs)
        return embedded
