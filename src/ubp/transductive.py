"""Similarities made anew from all test queries together: what that is worth, and never part of a main table.

An inductive score ranks every query alone. The functions here let the queries of a test batch inform each other, which
presumes that they are known together, and more. See :mod:`ubp.evaluate_transductive` for the runs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubp.errors import InputError
from ubp.metrics import cosine_similarity, unit

Floats = NDArray[np.floating]
Rerank = Callable[[Floats, Floats], Floats]
GRID_BITS = 32


@dataclass(frozen=True)
class Transductive:
    """A way to rank all queries together.

    Parameters
    ----------
    rerank : callable
        Brain embeddings (n_queries, d) and gallery vectors (n_gallery, d) to scores (n_queries, n_gallery).
    presumes : str
        What must be so in use for its score to be had, as the rest of a sentence.
    """

    rerank: Rerank
    presumes: str


@dataclass(frozen=True)
class Condition:
    """What is known of the other queries when one is ranked.

    Parameters
    ----------
    score : callable
        A way to rank, brain embeddings and gallery vectors to scores of shape (n_queries, n_gallery).
    label : str
        For tables; part of the protocol's name.
    """

    score: Callable[[Rerank, Floats, Floats], Floats]
    label: str


def assignment(similarity: Floats) -> NDArray[np.float64]:
    r"""One-to-one assignment: how little is lost when a query is given an image, and every other query the best left.

    .. math:: m_{ij} = \max_{\pi:\, \pi(i) = j} \sum_q s_{q \pi(q)} - \max_\pi \sum_q s_{q \pi(q)} \le 0

    over all ways :math:`\pi` to give every query an image of its own. The best assignment has 0, so it comes first in
    every row, and all other images are in order too, so that every top-k is defined. Where several assignments are
    best, their images tie, whatever the order of queries and images. With one query the order is that of `similarity`.

    All `m` come from one optimal assignment: giving `j` to `i` moves its holder to another image, and so on until
    somebody takes the image that `i` has left, or nobody must; the cheapest such chains are shortest paths.

    Parameters
    ----------
    similarity : array of shape (n_queries, n_gallery)
        At least as many images as queries. Taken to multiples of ``2**-32`` of its largest value (next power of two),
        so that sums are exact and equal assignments are equal.

    Returns
    -------
    array of shape (n_queries, n_gallery), float64

    Raises
    ------
    InputError
        When there are more queries than images, or a similarity is not finite.

    Notes
    -----
    Time and memory grow with the third and second power of the number of queries.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse.csgraph import csgraph_from_dense, floyd_warshall

    n_queries, n_gallery = similarity.shape
    if n_queries > n_gallery:
        raise InputError(
            f"{n_queries} queries cannot be assigned to {n_gallery} images one to one; expected at most {n_gallery}."
        )
    exact = _on_grid(similarity)
    taken = linear_sum_assignment(exact, maximize=True)[1]
    free = np.setdiff1d(np.arange(n_gallery), taken)
    loss = exact[np.arange(n_queries), taken][:, None] - exact
    # from query to query whose image it takes; the last node stands for the images that nobody has
    steps = np.full((n_queries + 1, n_queries + 1), np.inf)
    steps[:-1, :-1] = loss[:, taken]
    if len(free):
        steps[:-1, -1] = loss[:, free].min(axis=1)
        steps[-1, :-1] = 0
    chains = floyd_warshall(csgraph_from_dense(steps, null_value=np.inf))
    holder = np.full(n_gallery, n_queries)
    holder[taken] = np.arange(n_queries)
    return 0.0 - (loss + chains[holder, :n_queries].T)


def csls(similarity: Floats, k: int = 10) -> Floats:
    r"""Cross-domain similarity local scaling: images that many queries are near to are made less near.

    .. math:: 2 s_{ij} - \frac1k \sum_{j' \in N_k(i)} s_{ij'} - \frac1k \sum_{i' \in N_k(j)} s_{i'j}

    with the `k` most similar images of the query and the `k` most similar queries of the image.

    Parameters
    ----------
    similarity : array of shape (n_queries, n_gallery)
    k : int
        Neighbours; where there are fewer queries or images, all of them.

    Returns
    -------
    array of shape (n_queries, n_gallery)
        Source: Conneau et al., "Word Translation Without Parallel Data", ICLR 2018, equations 2 and 3.

    Raises
    ------
    InputError
        When `k` is below 1.
    """
    if k < 1:
        raise InputError(f"k is {k}; expected 1 neighbour or more.")
    of_query, of_image = _mean_of_largest(similarity, k), _mean_of_largest(similarity.T, k)
    return 2 * similarity - of_query[:, None] - of_image[None]


def procrustes(
    brain: Floats, vision: Floats, n_components: int = 32, weight: float = 10.0, max_rounds: int = 20
) -> Floats:
    r"""Turn the cloud of queries onto that of images, pairing both without labels.

    Both sides lose their mean and become unit vectors. Then, until the pairs no longer change: queries and images that
    are each other's nearest are paired, and the queries are turned by

    .. math:: R = \arg\max_{R^T R = I} \operatorname{tr} R^T \Bigl(\sum_{(i,j)} b_i v_j^T + \tfrac wc I\Bigr)

    within the `c` principal components of the gallery (outside them nothing is turned). The identity is worth `w`
    pairs, and of the means a share :math:`n / (n + w)` is taken off for `n` queries, so that few queries change little;
    one that ties for the nearest is not paired.

    Parameters
    ----------
    brain : array of shape (n_queries, d)
    vision : array of shape (n_gallery, d)
    n_components : int
        Principal components `c`; fewer where the gallery has fewer.
    weight : float
        Pairs `w` that the identity is worth; above 0.
    max_rounds : int

    Returns
    -------
    array of shape (n_queries, n_gallery)
        Cosines after the turn. Source: Schönemann, "A generalized solution of the orthogonal Procrustes problem", 1966;
        its unsupervised iteration as in Conneau et al., ICLR 2018.
    """
    share = len(brain) / (len(brain) + weight)
    queries = unit(brain - share * brain.mean(axis=0)).astype(np.float64)
    images = unit(vision - share * vision.mean(axis=0)).astype(np.float64)
    axes = _principal_axes(vision.astype(np.float64), n_components)
    inner, outer = queries @ axes, images @ axes
    elsewhere = queries @ images.T - inner @ outer.T
    turn, paired = np.eye(axes.shape[1]), None
    for _ in range(max_rounds):
        similarity = elsewhere + inner @ turn @ outer.T
        pairs = mutual_nearest(similarity)
        if paired is not None and np.array_equal(pairs, paired):
            break
        paired = pairs
        u, _, v = np.linalg.svd(inner[pairs[0]].T @ outer[pairs[1]] + weight / max(1, len(turn)) * np.eye(len(turn)))
        turn = u @ v
    return elsewhere + inner @ turn @ outer.T


def mutual_nearest(similarity: Floats) -> NDArray[np.integer]:
    """Queries and images that are each other's single nearest, shape (2, n_pairs); one that ties has no pair."""
    row, column = similarity.max(axis=1, keepdims=True), similarity.max(axis=0, keepdims=True)
    best_of_row, best_of_column = similarity == row, similarity == column
    single = (best_of_row.sum(axis=1, keepdims=True) == 1) & (best_of_column.sum(axis=0, keepdims=True) == 1)
    return np.array(np.nonzero(best_of_row & best_of_column & single))


def all_at_once(rerank: Rerank, brain: Floats, vision: Floats) -> Floats:
    """Every query is ranked with all others known."""
    return rerank(brain, vision)


def one_by_one(rerank: Rerank, brain: Floats, vision: Floats, seed: int = 0) -> Floats:
    """Queries come in random order; each is ranked when it comes, with those before it known, and never again."""
    order = np.random.default_rng(seed).permutation(len(brain))
    scores = np.empty((len(brain), len(vision)))
    for seen in range(1, len(order) + 1):
        scores[order[seen - 1]] = rerank(brain[order[:seen]], vision)[-1]
    return scores


def half_shown(rerank: Rerank, brain: Floats, vision: Floats, seed: int = 0) -> Floats:
    """Queries of a random half of the images are ranked together, the other images being distractors; then the rest."""
    scores = np.empty((len(brain), len(vision)))
    for part in np.array_split(np.random.default_rng(seed).permutation(len(brain)), 2):
        if len(part):
            scores[part] = rerank(brain[part], vision)
    return scores


def _on_grid(similarity: Floats) -> NDArray[np.float64]:
    values = np.asarray(similarity, np.float64)
    if not np.isfinite(values).all():
        raise InputError("The similarities hold NaN or infinite values; expected finite numbers.")
    step = np.ldexp(1.0, int(np.frexp(np.abs(values).max(initial=0.0))[1]) - GRID_BITS)
    return np.round(values / step) * step


def _mean_of_largest(values: Floats, k: int) -> Floats:
    """Mean of the `k` largest of every row; sorted first, so that equal rows have equal means."""
    return np.sort(values, axis=1)[:, -k:].mean(axis=1)


def _principal_axes(vectors: NDArray[np.float64], n_components: int) -> NDArray[np.float64]:
    """Orthonormal columns along which the vectors vary most, at most `n_components` and no empty ones."""
    from scipy.linalg import eigh

    centred = vectors - vectors.mean(axis=0)
    n = len(centred)
    variance, weights = eigh(centred @ centred.T, subset_by_index=(max(0, n - n_components), n - 1))
    kept = variance > 1e-9 * max(variance[-1], np.finfo(float).tiny)
    return centred.T @ (weights[:, kept] / np.sqrt(variance[kept]))


TRANSDUCTIVE = {
    "assignment": Transductive(
        lambda brain, vision: assignment(cosine_similarity(brain, vision)),
        "all queries are known at once and every gallery image is shown exactly once",
    ),
    "csls": Transductive(
        lambda brain, vision: csls(cosine_similarity(brain, vision)),
        "all queries are known at once and every gallery image is shown about as often",
    ),
    "procrustes": Transductive(
        procrustes, "all queries are known at once and, as a cloud of points, are the gallery turned and moved"
    ),
}
CONDITIONS = {
    "all": Condition(all_at_once, "all at once"),
    "streaming": Condition(one_by_one, "one by one"),
    "partial": Condition(half_shown, "half of the gallery shown"),
}
