"""Image features as arrays in the place of a feature store: what each trial saw, and its vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ubp.errors import InputError
from ubp.images.levels import Level
from ubp.metrics import unit

N_LEVELS = (1, 3)
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class ArrayVectors:
    """Unit vectors of images at one level or three; an image's name is its row.

    Parameters
    ----------
    ladder_of_all : array of shape (n_levels, n_images, embed_dim), float32
        By increasing blur.
    """

    ladder_of_all: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, name: str) -> "ArrayVectors":
        """Vectors from image features of shape (n_images, embed_dim) or (n_levels, n_images, embed_dim).

        Raises
        ------
        InputError
            When they have another shape or another number of levels, or hold NaN or infinity; `name` says what it is.
        """
        features = np.asarray(features)
        levels = features[None] if features.ndim == 2 else features
        if levels.ndim != 3 or len(levels) not in N_LEVELS or 0 in levels.shape:
            raise InputError(
                f"{name} has shape {features.shape}; expected (n_images, embed_dim), or that at three levels of blur."
            )
        if levels.dtype.kind not in "fiu" or not np.isfinite(levels).all():
            raise InputError(f"{name} holds values that are NaN, infinite or no numbers; expected finite numbers.")
        return cls(np.stack([_directions(level) for level in levels]))

    @property
    def base(self) -> np.ndarray:
        """Vectors of the middle level, which galleries are of; shape (n_images, embed_dim)."""
        vectors: np.ndarray = self.ladder_of_all[len(self.ladder_of_all) // 2]
        return vectors

    def ladder(self, levels: Sequence[Level], images: Sequence[str] | None = None) -> Tensor:
        """Vectors of all levels, which the caller has as many of, float32 of shape (n_levels, n_images, embed_dim)."""
        return torch.from_numpy(self.ladder_of_all[:, self._rows(images)])

    def vectors(self, level: Level, images: Sequence[str] | None = None) -> np.ndarray:
        """Vectors of the middle level, float32 of shape (n_images, embed_dim)."""
        chosen: np.ndarray = self.base[self._rows(images)]
        return chosen

    def _rows(self, images: Sequence[str] | None) -> np.ndarray:
        return np.arange(len(self.base)) if images is None else np.array([int(image) for image in images], int)


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32; those of unit length stay as they are, bit for bit."""
    single = vectors.astype(np.float32)
    done = np.abs(np.linalg.norm(single, axis=1) - 1) < ROUNDING
    return np.where(done[:, None], single, unit(vectors))


def image_name(row: int) -> str:
    """Name of the image in a row; names sort as rows do."""
    return f"{row:09d}"


def images_seen(y: np.ndarray, table: ArrayVectors | None) -> tuple[np.ndarray, ArrayVectors]:
    """What each trial saw, as rows of vectors.

    Parameters
    ----------
    y : array of shape (n_trials, embed_dim), (n_trials, n_levels, embed_dim) or (n_trials,)
        Image features of each trial, where equal rows are one image; or, with a table, the row of each trial's image.
    table : ArrayVectors, optional

    Returns
    -------
    rows : int64 array of shape (n_trials,)
    vectors : ArrayVectors
        The table, or the distinct images of y.

    Raises
    ------
    InputError
        When y is of neither kind, or a row is not in the table.
    """
    if table is None:
        if y.ndim not in (2, 3):
            raise InputError(
                f"y has shape {y.shape}; expected the image features of each trial, (n_trials, embed_dim) or "
                "(n_trials, n_levels, embed_dim), or give image_features and let y hold their rows."
            )
        flat, rows = np.unique(y.reshape(len(y), -1), axis=0, return_inverse=True)
        features = flat.reshape(len(flat), *y.shape[1:])
        return rows.reshape(-1), ArrayVectors.of(features if y.ndim == 2 else features.swapaxes(0, 1), "y")
    if y.ndim != 1:
        raise InputError(
            f"y has shape {y.shape}; expected (n_trials,), rows of image_features, or leave image_features out."
        )
    n_images = len(table.base)
    if y.dtype.kind not in "fiu" or (y != np.floor(y)).any() or y.min() < 0 or y.max() >= n_images:
        raise InputError(f"y must hold rows of image_features, whole numbers from 0 to {n_images - 1}.")
    return y.astype(np.int64), table
