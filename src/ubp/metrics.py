"""Retrieval metrics: how high the seen image ranks among the gallery.

Ranks start at 1 for the best; equal similarities share their mean rank, so a model that says the same of every image
ranks each in the middle and hits nothing by luck.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


def cosine_similarity(brain: Floats, vision: Floats) -> NDArray[np.float32]:
    """Cosine of every query with every gallery image.

    Parameters
    ----------
    brain : array of shape (n_queries, embed_dim)
    vision : array of shape (n_gallery, embed_dim)

    Returns
    -------
    array of shape (n_queries, n_gallery), float32
        Zero where an embedding is the zero vector.
    """
    unit_brain, unit_vision = unit(brain), unit(vision)
    return unit_brain @ unit_vision.T


def unit(vectors: Floats) -> NDArray[np.float32]:
    """Rows of length 1, float32; the zero vector stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(
        vectors, length, out=np.zeros_like(vectors, dtype=np.float32), where=length > 0, casting="same_kind"
    )


def better_and_tied(similarity: Floats, target: Integers) -> tuple[Integers, Integers]:
    """How many gallery images beat the seen one, and how many others equal it.

    Parameters
    ----------
    similarity : array of shape (n_queries, n_gallery)
    target : integer array of shape (n_queries,)
        Column of the seen image.

    Raises
    ------
    ValueError
        When a similarity is not finite, the gallery has fewer than two images, or a target is outside it.
    """
    n_queries, n_gallery = similarity.shape
    if n_gallery < 2:
        raise ValueError(f"The gallery has {n_gallery} image; expected at least 2 to rank.")
    if len(target) != n_queries or target.min(initial=0) < 0 or target.max(initial=0) >= n_gallery:
        raise ValueError(f"The targets must be {n_queries} columns from 0 to {n_gallery - 1}.")
    if not np.isfinite(similarity).all():
        raise ValueError("The similarities hold NaN or infinite values; expected finite numbers.")
    matched = np.take_along_axis(similarity, target[:, None], axis=1)
    return (similarity > matched).sum(axis=1), (similarity == matched).sum(axis=1) - 1


def ranks(similarity: Floats, target: Integers) -> NDArray[np.float64]:
    r"""Rank of the seen image for every query.

    .. math:: rank_i = 1 + \#\{j: s_{ij} > s_{i t_i}\} + \tfrac12 \#\{j \ne t_i: s_{ij} = s_{i t_i}\}

    Parameters and errors as in :func:`~ubp.metrics.better_and_tied`.
    """
    better, tied = better_and_tied(similarity, target)
    return 1 + better + tied / 2


def top_k(rank: Floats, k: int, n_gallery: int) -> NDArray[np.bool_]:
    """Whether the seen image is among the `k` best: ``rank <= k``.

    Raises
    ------
    ValueError
        When `k` is below 1 or larger than the gallery.
    """
    if not 1 <= k <= n_gallery:
        raise ValueError(f"k is {k}, but the gallery has {n_gallery} images; expected k from 1 to {n_gallery}.")
    return rank <= k


def mean_reciprocal_rank(rank: Floats) -> float:
    """Mean of ``1 / rank``."""
    return float(np.mean(1 / rank))


def mean_percentile_rank(rank: Floats, n_gallery: int) -> float:
    """Mean of ``(n - rank) / (n - 1)``: 1 when the seen image is always first, 0.5 by chance."""
    return float(np.mean((n_gallery - rank) / (n_gallery - 1)))


def n_way_accuracy(similarity: Floats, target: Integers, n: int, k: int = 1) -> NDArray[np.float64]:
    r"""Top-`k` accuracy among the seen image and `n - 1` others drawn at random from the gallery.

    The expectation over all draws without replacement, so no draw has to be repeated: with `b` better and `t` tied
    images of `G - 1` others, the numbers drawn follow the hypergeometric distribution.

    .. math:: P\bigl(1 + B + T/2 \le k\bigr), \quad (B, T) \sim Hypergeometric(G - 1; b, t; n - 1)

    Parameters
    ----------
    similarity, target : as in :func:`~ubp.metrics.better_and_tied`
    n : int
        Size of the sub-gallery, 2 to the gallery's size.
    k : int
        1 to `n`.

    Returns
    -------
    array of shape (n_queries,), float64
        Probability of a hit, per query.

    Raises
    ------
    ValueError
        When `n` or `k` is out of range.
    """
    better, tied = better_and_tied(similarity, target)
    others = similarity.shape[1] - 1
    if not 2 <= n <= others + 1:
        raise ValueError(f"n is {n}, but the gallery has {others + 1} images; expected n from 2 to {others + 1}.")
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; expected k from 1 to {n}, the number of images to choose from.")
    hit = np.zeros(len(target))
    for t in range(int(tied.max(initial=0)) + 1):
        drawn = hypergeom.pmf(t, others, tied, n - 1)
        # given t tied images, the n - 1 - t left are drawn from those that are not tied
        room = np.floor(k - 1 - t / 2)
        left = np.clip(n - 1 - t, 0, others - tied)
        hit += np.where(drawn > 0, drawn * hypergeom.cdf(room, others - tied, better, left), 0.0)
    return hit


def chance(n_gallery: int, k: int = 1) -> float:
    """Top-`k` accuracy of a random ranking, ``k / n``."""
    return k / n_gallery
