"""What is trained on and what is retrieved for validation, as arrays."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ubp.errors import InputError


@dataclass(frozen=True)
class Pairs:
    """The training pairs, resident on the device that trains.

    Parameters
    ----------
    signals : Tensor of shape (n_pairs, n_channels, n_times), float32
        With repetitions to draw, single trials, (n_trials, n_channels, n_times).
    image : Tensor of shape (n_pairs,), int64
        Row of each pair's image in the ladder.
    ladder : Tensor of shape (n_levels, n_images, embed_dim), float32
        Unit image embeddings by increasing blur; one level or several. Of a bank, (n_levels, n_images, n_vectors,
        embed_dim).
    subject : Tensor of shape (n_pairs,), int64, optional
        Number of each pair's subject, from 0, for brain encoders that want to know.
    sfreq : float, optional
        Sampling rate in Hz, for brain encoders that want to know.
    concept : Tensor of shape (n_pairs,), int64, optional
        Number of each pair's concept, from 0: its row in `text`, if there is one, and what is pooled over.
    text : Tensor of shape (n_concepts, text_dim), float32, optional
        Text features of the concepts, for models that learn from them too.
    repetitions : Tensor of shape (n_pairs, most), int64, optional
        Rows of `signals` that showed one image to one subject, for each pair, and -1 past the last. Without it, pair i
        is row i.

    Raises
    ------
    InputError
        When the shapes do not belong together.
    """

    signals: Tensor
    image: Tensor
    ladder: Tensor
    subject: Tensor | None = None
    sfreq: float | None = None
    concept: Tensor | None = None
    text: Tensor | None = None
    repetitions: Tensor | None = None

    def __post_init__(self) -> None:
        n_pairs = len(self.signals) if self.repetitions is None else len(self.repetitions)
        if self.signals.ndim != 3 or self.ladder.ndim not in (3, 4) or self.image.shape != (n_pairs,):
            raise InputError(
                f"Signals {tuple(self.signals.shape)}, image rows {tuple(self.image.shape)} and ladder "
                f"{tuple(self.ladder.shape)} do not belong together; expected (n, channels, times), (n,) and "
                "(levels, images, d)."
            )
        if self.subject is not None and self.subject.shape != self.image.shape:
            raise InputError(f"There are {len(self.subject)} subjects for {n_pairs} training pairs.")
        if self.text is not None and self.concept is None:
            raise InputError("Text features need the concept of each pair.")
        if self.repetitions is not None and (
            self.repetitions.ndim != 2
            or not (self.repetitions >= 0).any(dim=1).all()
            or not -1 <= int(self.repetitions.min()) <= int(self.repetitions.max()) < len(self.signals)
        ):
            raise InputError(
                f"The repetitions of a pair are not rows of the {len(self.signals)} trials; expected (n_pairs, most) "
                "with at least one row for each pair, and -1 past its last."
            )
        if n_pairs < 2:
            raise InputError(f"There are {n_pairs} training pairs; the contrastive loss needs at least 2.")

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Pairs":
        """Copy to a device and floating type, where they are not there already."""
        return replace(
            self,
            signals=self.signals.to(device, dtype),
            image=self.image.to(device),
            ladder=self.ladder.to(device, dtype),
            subject=None if self.subject is None else self.subject.to(device),
            concept=None if self.concept is None else self.concept.to(device),
            text=None if self.text is None else self.text.to(device, dtype),
            repetitions=None if self.repetitions is None else self.repetitions.to(device),
        )

    @property
    def n_subjects(self) -> int:
        """Number of subjects; 0 when nobody said whose signals they are."""
        return 0 if self.subject is None else int(self.subject.max()) + 1


@dataclass(frozen=True)
class Gallery:
    """Held-out signals and the image of each, for retrieval.

    Parameters
    ----------
    signals : Tensor of shape (n_queries, n_channels, n_times), float32
    target : integer array of shape (n_queries,)
        Row of `vision` that each query saw.
    vision : array of shape (n_gallery, embed_dim), float32
    subject : Tensor of shape (n_queries,), int64, optional
        As in the training pairs.
    """

    signals: Tensor
    target: np.ndarray
    vision: np.ndarray
    subject: Tensor | None = None


def channel_scale(signals: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel over trials and times; a constant channel gets deviation 1.

    Parameters
    ----------
    signals : Tensor of shape (n, n_channels, n_times), float32

    Returns
    -------
    mean, deviation : Tensor of shape (n_channels, 1), float32
    """
    mean = signals.mean(dim=(0, 2), dtype=torch.float64)
    square = torch.stack([channel.double().var(correction=0) for channel in signals.unbind(1)])
    deviation = square.sqrt()
    deviation[deviation == 0] = 1
    return mean.float()[:, None], deviation.float()[:, None]
