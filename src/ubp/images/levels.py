"""What a feature store holds one set of vectors for: levels of blur, and other transformations of the images."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ubp.images.blur import blur_ladder


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


def apply_levels(images: Tensor, levels: Sequence[Level], keys: Sequence[str]) -> Tensor:
    """Transform images by every level.

    Parameters
    ----------
    images : Tensor of shape (n, 3, height, width), uint8
    levels : sequence of Level
    keys : sequence of str, one per image
        Seeds what is random, so that an image's pixels depend on it and on the level alone: the digest of its file.

    Returns
    -------
    Tensor of shape (n_levels, n, 3, height, width), float32 in 0..1, on the device of `images`
    """
    return blur_ladder(images, levels)  # type: ignore[arg-type]
