"""The encoder of a contrastive model: a brain encoder, what is learned on the image side, and several of both."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ubp.brain import brain_encoder
from ubp.brain.base import SignalEncoder
from ubp.brain.subject_layers import SubjectLayers
from ubp.config import TrainOptions
from ubp.image_side import ImageSide


class TwoSided(SignalEncoder):
    """A brain encoder and a map of the image vectors.

    Parameters
    ----------
    brain : SignalEncoder
    image_side : ImageSide
    """

    def __init__(self, brain: SignalEncoder, image_side: ImageSide) -> None:
        super().__init__(brain.n_channels, brain.n_times)
        self.brain, self.image_side = brain, image_side
        self.uses_subject = brain.uses_subject  # type: ignore[misc]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Embed signals, as the brain encoder does."""
        embedded: Tensor = self.brain(*inputs)
        return embedded

    def images(self, vectors: Tensor) -> Tensor:
        """Map image vectors, see :class:`ubp.image_side.ImageSide`."""
        mapped: Tensor = self.image_side(vectors)
        return mapped


class Members(SignalEncoder):
    r"""Encoders side by side, whose cosine is the mean of the members' cosines.

    .. math:: h = \bar{r} \, \frac{1}{\sqrt{K}} \Big[\frac{h_1}{\|h_1\|}, \dots, \frac{h_K}{\|h_K\|}\Big], \quad
        \bar{r} = \frac{1}{K} \sum_k \|h_k\|

    and the same for images, which have length 1.

    Parameters
    ----------
    members : sequence of SignalEncoder
        For signals of one shape.
    """

    def __init__(self, members: Sequence[SignalEncoder]) -> None:
        super().__init__(members[0].n_channels, members[0].n_times)
        self.members = nn.ModuleList(members)
        self.uses_subject = any(member.uses_subject for member in members)  # type: ignore[misc]

    def each(self, signals: Tensor, *subject: Tensor) -> list[Tensor]:
        """Embeddings of the signals by every member."""
        return [member(signals, *(subject if member.uses_subject else ())) for member in self.members]

    def forward(self, signals: Tensor, *subject: Tensor) -> Tensor:
        """Embed signals (n, n_channels, n_times), and their subjects if wanted, as (n, sum of the members' lengths)."""
        return side_by_side(self.each(signals, *subject))

    def images(self, vectors: Tensor) -> Tensor:
        """Map image vectors by every member, side by side."""
        return side_by_side([member.images(vectors) for member in self.members])  # type: ignore[operator]


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """The vector whose direction joins those of the parts, each (n, dim), and whose length is their mean length."""
    length = torch.stack([part.norm(dim=-1, keepdim=True) for part in parts]).mean(0)
    directions = torch.cat([functional.normalize(part, dim=-1) for part in parts], dim=-1)
    return directions * (length / len(parts) ** 0.5)


def make_encoder(
    options: TrainOptions,
    n_channels: int,
    n_times: int,
    vision_dim: int,
    n_levels: int = 1,
    n_images: int | None = None,
    **about: Any,
) -> SignalEncoder:
    """The encoder that the options describe, with random weights.

    Parameters
    ----------
    options : TrainOptions
    n_channels, n_times : int
        Shape of one trial.
    vision_dim : int
        Length of the image vectors.
    n_levels : int
        Levels of the bank that an image has a vector at; 1 without one.
    n_images : int, optional
        Distinct training images, which bound the number of principal components.
    **about
        `n_subjects` and `sfreq`, for brain encoders that want to know.

    Raises
    ------
    InputError
        When the brain encoder is unknown, or cannot serve signals of that shape.
    """
    names = options.brain_encoder.split("+")
    n_components = min(options.components, vision_dim, n_images or vision_dim) or None
    members = [
        _one(options, names[number % len(names)], n_channels, n_times, vision_dim, n_levels, n_components, **about)
        for number in range(max(options.members, len(names)))
    ]
    return members[0] if len(members) == 1 else Members(members)


def fit_images(encoder: nn.Module, vectors: Tensor) -> None:
    """Let the image sides of an encoder find the principal components of the training images, once for all.

    `vectors` are of shape (n_images, vision_dim), or (n_images, n_levels, vision_dim) of a bank.
    """
    sides = [part for part in encoder.modules() if isinstance(part, ImageSide)]
    for side in sides[:1]:
        side.fit(vectors)
    for side in sides[1:]:
        if side.components is not None and sides[0].components is not None:
            side.components.load_state_dict(sides[0].components.state_dict())


def _one(
    options: TrainOptions,
    name: str,
    n_channels: int,
    n_times: int,
    vision_dim: int,
    n_levels: int,
    n_components: int | None,
    **about: Any,
) -> SignalEncoder:
    def brain(embed_dim: int) -> SignalEncoder:
        made = brain_encoder(name, n_channels, n_times, embed_dim, **about)
        return SubjectLayers(made, about.get("n_subjects", 0)) if options.subject_layers else made

    if n_levels == 1 and options.adapter == "none" and not n_components:
        return brain(vision_dim)
    length = options.adapter_dim or None
    side = ImageSide(vision_dim, n_levels, options.mixture, options.adapter, length, n_components)
    return TwoSided(brain(side.embed_dim), side)
