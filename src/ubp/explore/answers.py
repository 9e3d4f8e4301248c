"""Every query of a source answered at once, and which images the model takes for others."""

from dataclasses import dataclass

import numpy as np

from ubp.adapt import Queries
from ubp.explore.sources import Source
from ubp.metrics import unit
from ubp.retrieval import Retrieval


@dataclass(frozen=True, eq=False)
class Answered:
    """Queries with what the model says of them.

    Parameters
    ----------
    queries : Queries
    brain : array of shape (n_queries, embed_dim), float32
        Unit vectors of the brain embeddings.
    found : Retrieval
    rank : array of shape (n_queries,)
        Of the image seen; NaN where it is not known or not in the gallery.
    target : int array of shape (n_queries,)
        Column of the image seen; -1 where there is none.
    """

    queries: Queries
    brain: np.ndarray
    found: Retrieval
    rank: np.ndarray
    target: np.ndarray


def answer(source: Source, queries: Queries) -> Answered:
    """Let a model answer queries of a source."""
    subject = source.given.subject
    brain = source.retriever.embed(queries, subject, source.alignment)
    found = source.retriever.rank(queries, subject, brain=brain)
    column = {image: place for place, image in enumerate(found.gallery)}
    target = np.array([column.get(image, -1) for image in queries.images])
    return Answered(queries, unit(brain), found, found.rank(), target)


def ranked_above(similarity: np.ndarray, target: np.ndarray) -> np.ndarray:
    """How often each image is more similar to a query than the image that was seen.

    Parameters
    ----------
    similarity : array of shape (n_queries, n_gallery)
    target : int array of shape (n_queries,)
        Column of the image seen; queries with -1 do not count.

    Returns
    -------
    int array of shape (n_gallery,)
    """
    known = np.flatnonzero(target >= 0)
    seen = similarity[known, target[known]]
    return (similarity[known] > seen[:, None]).sum(axis=0)


def most(counts: np.ndarray, top: int) -> np.ndarray:
    """Places of the largest counts above 0, largest first; of equals the first comes first."""
    order = np.argsort(-counts, kind="stable")[:top]
    return order[counts[order] > 0]


def nearest(brain: np.ndarray, images: tuple[str, ...], query: int, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries of other images whose brain embeddings are most like a query's.

    Parameters
    ----------
    brain : array of shape (n_queries, embed_dim)
        Unit vectors.
    images : tuple of str
        What each query showed; empty where that is not known.
    query : int
    top : int

    Returns
    -------
    rows : int array
        Most similar first, without the query itself and others of its image.
    cosines : array
    """
    cosine = brain @ brain[query]
    other = np.array([image != images[query] or not image for image in images])
    other[query] = False
    rows = np.flatnonzero(other)
    order = rows[np.argsort(-cosine[rows], kind="stable")[:top]]
    return order, cosine[order]
