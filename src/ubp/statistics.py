"""Intervals by bootstrap, over images, seeds and subjects."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from ubp.errors import InputError

Scores = Sequence[NDArray[np.floating]]


def grand_mean(scores: Scores) -> float:
    """Mean over subjects of the mean over seeds and queries.

    Parameters
    ----------
    scores : sequence of arrays of shape (n_seeds, n_queries)
        One array a subject, e.g. whether each query was a hit.
    """
    return float(np.mean([np.mean(subject) for subject in scores]))


def bootstrap_interval(
    scores: Scores,
    queries: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
    over_subjects: bool = True,
) -> tuple[float, float]:
    """Percentile bootstrap interval of :func:`~ubp.statistics.grand_mean`.

    Subjects (when several, and asked for), then within each subject its seeds and its queries are drawn with
    replacement; drawing is by multinomial weights, ``mean = w_s^T A w_q``. For a paired comparison give the
    differences of two methods on the same seeds and queries.

    Parameters
    ----------
    scores : sequence of arrays of shape (n_seeds, n_queries)
    queries : sequence of hashable, optional
        What names the queries of each subject. Subjects with the same queries, such as the same test images, get the
        same draw of them, because what an image does to one subject it does to all. By default all differ.
    confidence : float
    n_resamples : int
    seed : int
    over_subjects : bool
        False keeps the subjects as they are: the interval then speaks of these subjects only.

    Returns
    -------
    low, high : float
        Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; Saravanan et al.,
        "Application of the hierarchical bootstrap to multi-level data in neuroscience", 2020.

    Raises
    ------
    InputError
        When there is nothing to resample.
    """
    if not scores or any(subject.ndim != 2 or subject.size == 0 for subject in scores):
        raise InputError("The bootstrap needs one array of shape (n_seeds, n_queries) for each subject, none empty.")
    random = np.random.default_rng([seed, 0])
    names = list(queries) if queries is not None else list(range(len(scores)))
    place = {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}
    for_queries = {name: np.random.default_rng([seed, number]) for name, number in place.items()}
    means = np.empty((n_resamples, len(scores)))
    block = max(1, 4_000_000 // max(subject.shape[1] for subject in scores))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn: dict[tuple[Hashable, int], NDArray[np.float64]] = {}
        for number, (subject, name) in enumerate(zip(scores, names, strict=True)):
            n_seeds, n_queries = subject.shape
            if (name, n_queries) not in drawn:
                drawn[name, n_queries] = _weights(for_queries[name], n_queries, size)
            of_seeds = _weights(random, n_seeds, size) @ np.asarray(subject, float)
            means[start : start + size, number] = np.einsum("bq,bq->b", of_seeds, drawn[name, n_queries])
    if over_subjects and len(scores) > 1:
        weights = _weights(random, len(scores), n_resamples)
    else:
        weights = np.full((n_resamples, len(scores)), 1 / len(scores))
    low, high = np.quantile((means * weights).sum(axis=1), [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def _weights(random: np.random.Generator, n: int, n_resamples: int) -> NDArray[np.float64]:
    """How often each of `n` is drawn, over `n`, for every resample."""
    return random.multinomial(n, np.full(n, 1 / n), n_resamples) / n
