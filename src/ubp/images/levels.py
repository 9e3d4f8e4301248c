"""What a feature store holds one set of vectors for: levels of blur, and other transformations of the images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ubp.images.blur import Blur, blur_ladder


class Level(Protocol):
    """A transformation of images with all its parameters fixed.

    Attributes
    ----------
    name : str
        Short, safe in a file name; levels with one name give the same images.
    """

    @property
    def name(self) -> str:
        """See the class."""
        ...

    def apply(self, images: Tensor, keys: Sequence[str]) -> Tensor:
        """Transform float32 images in 0..1, (n, 3, height, width); `keys` as in :func:`apply_levels`."""
        ...


@dataclass(frozen=True)
class Composed:
    """A level made of the vectors of others, which a store holds instead of it.

    Parameters
    ----------
    levels : tuple of Level
        Two or more, none of them composed.

    Raises
    ------
    ValueError
        When there are fewer, or one is composed, or one occurs twice.
    """

    levels: tuple[Level, ...]

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        names = [level.name for level in self.levels]
        if len(names) < 2 or len(set(names)) < len(names) or any(isinstance(level, Composed) for level in self.levels):
            raise ValueError(
                f"The levels of a {self.kind} are {names}, but must be two or more, all different, no means or banks."
            )

    @property
    def name(self) -> str:
        """Names of the levels, joined."""
        return f"{self.kind}-of-{'+'.join(level.name for level in self.levels)}"

    def apply(self, images: Tensor, keys: Sequence[str]) -> Tensor:
        """Refused: it is made of vectors."""
        raise ValueError(f"The level {self.name} is made of vectors and has no pixels; use its levels.")


class Mean(Composed):
    r"""The mean of several levels, of their *vectors*: the direction of :math:`\sum_l v_l`, all :math:`|v_l| = 1`.

    A mean of pixels would be one more, milder corruption; a mean of vectors keeps what the corruptions agree on. It is
    made when vectors are read, so a store holds its levels only, each once however many means it is in.

    References
    ----------
    After NeuroBridge (Zhang et al., AAAI 2026), whose program takes the mean before it normalises.
    """

    kind = "mean"


class Bank(Composed):
    """Several levels at once: an image has one vector at each, and the model weighs them."""

    kind = "bank"


def stored_levels(levels: Iterable[Level]) -> tuple[Level, ...]:
    """The levels that a store must hold for `levels`: those of a mean or a bank in its place; each name once."""
    single = (part for level in levels for part in (level.levels if isinstance(level, Composed) else (level,)))
    return tuple({level.name: level for level in single}.values())


@torch.no_grad()
def apply_levels(images: Tensor, levels: Sequence[Level], keys: Sequence[str]) -> Tensor:
    """Transform images by every level; the blurs among them share their work.

    Parameters
    ----------
    images : Tensor of shape (n, 3, height, width)
        uint8, or float32 in 0..1.
    levels : sequence of Level
        At least one, no :class:`Mean` or :class:`Bank`.
    keys : sequence of str, one per image
        Seeds what is random, so that an image's pixels depend on it and on the level alone: the digest of its file.

    Returns
    -------
    Tensor of shape (n_levels, n, 3, height, width), float32 in 0..1, on the device of `images`

    Raises
    ------
    ValueError
        When the images have another shape or type, a level does not fit their size, or there is no level.

    Examples
    --------
    >>> apply_levels(torch.rand(8, 3, 96, 96), [Blur(13), Blur(1)], [f"image {i}" for i in range(8)]).shape
    torch.Size([2, 8, 3, 96, 96])
    """
    if len(keys) != len(images):
        raise ValueError(f"There are {len(images)} images and {len(keys)} keys; expected one key per image.")
    levels = tuple(levels)
    blurs = [level for level in levels if isinstance(level, Blur)]
    if len(blurs) == len(levels):
        return blur_ladder(images, blurs)
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype not in (torch.float32, torch.uint8):
        raise ValueError(
            f"The images are {images.dtype} of shape {tuple(images.shape)}, but must be float32 in 0..1 or uint8, "
            "of shape (n, 3, height, width)."
        )
    crisp = images if images.dtype is torch.float32 else images.float().div_(255)
    out = torch.empty((len(levels), *images.shape), dtype=torch.float32, device=images.device)
    if blurs:
        places = [place for place, level in enumerate(levels) if isinstance(level, Blur)]
        out[places] = blur_ladder(crisp, blurs)
    for level, target in zip(levels, out, strict=True):
        if not isinstance(level, Blur):
            target.copy_(level.apply(crisp, keys))
    return out
