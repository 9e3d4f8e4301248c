"""What a model retrieved: ranked images of each query, probabilities and sets, as tables and plain content."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ubp.errors import InputError
from ubp.metrics import ranks


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Ranked images of some queries.

    Parameters
    ----------
    queries : tuple of str
        What each query is called.
    seen : tuple of str
        Image that was seen; empty where that is not known.
    gallery : tuple of str
    similarity : array of shape (n_queries, n_gallery), float32
        Cosines.
    repetitions : int array of shape (n_queries,)
    probability : array of shape (n_queries, n_gallery), float32, optional
        Given that one of the gallery was seen, all being equally likely before.
    set_sizes : dict of float to int array of shape (n_queries,)
        Coverage to the number of best images that hold the seen one with that certainty; 0 where no image fits.
    notes : tuple of str
        What a reader must know.
    """

    queries: tuple[str, ...]
    seen: tuple[str, ...]
    gallery: tuple[str, ...]
    similarity: np.ndarray
    repetitions: np.ndarray
    probability: np.ndarray | None = None
    set_sizes: dict[float, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def best(self, top: int | None = None) -> np.ndarray:
        """Gallery rows of the most similar images, shape (n_queries, top); of equals the first comes first."""
        top = len(self.gallery) if top is None else min(top, len(self.gallery))
        if top < len(self.gallery):
            return _largest(self.similarity, top)
        return np.argsort(-self.similarity, axis=1, kind="stable")

    def members(self, coverage: float) -> list[tuple[str, ...]]:
        """Images of each query's set.

        Raises
        ------
        InputError
            When there is no set of that coverage.
        """
        if coverage not in self.set_sizes:
            raise InputError(f"There is no set of coverage {coverage:g}; expected one of {[*self.set_sizes]}.")
        order = self.best()
        return [
            tuple(self.gallery[row] for row in rows[:size])
            for rows, size in zip(order, self.set_sizes[coverage], strict=True)
        ]

    def rank(self) -> np.ndarray:
        """Rank of the image seen, from 1, ties at their mean; NaN where it is not known or not in the gallery."""
        found = np.full(len(self.queries), np.nan)
        if not any(self.seen):
            return found
        row = {image: place for place, image in enumerate(self.gallery)}
        known = np.array([image in row for image in self.seen], bool)
        if known.any():
            target = np.array([row[image] for image in self.seen if image in row])
            found[known] = ranks(self.similarity[known], target)
        return found

    def table(self, top: int = 5) -> pd.DataFrame:
        """One row for each query and place.

        Columns: query, seen, rank (of the image seen), repetitions, place, image, similarity, probability, and for each
        coverage set_80 (size of the set) and in_set_80.
        """
        best = self.best(top)
        n, places = best.shape
        place = np.tile(np.arange(1, places + 1), n)
        columns: dict[str, Any] = {
            "query": np.repeat(self.queries, places),
            "seen": np.repeat(self.seen, places),
            "rank": np.repeat(self.rank(), places),
            "repetitions": np.repeat(self.repetitions, places),
            "place": place,
            "image": [self.gallery[row] for row in best.ravel()],
            "similarity": np.take_along_axis(self.similarity, best, axis=1).ravel(),
        }
        if self.probability is not None:
            columns["probability"] = np.take_along_axis(self.probability, best, axis=1).ravel()
        for coverage, sizes in self.set_sizes.items():
            columns[f"set_{100 * coverage:g}"] = np.repeat(sizes, places)
            columns[f"in_set_{100 * coverage:g}"] = place <= np.repeat(sizes, places)
        return pd.DataFrame(columns)

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """Plain content, for JSON: the best images of each query, and all members of its sets."""
        best, rank = self.best(top), self.rank()
        members = {f"{100 * coverage:g}": self.members(coverage) for coverage in self.set_sizes}
        queries = []
        for i, name in enumerate(self.queries):
            rows = best[i]
            found = [{"image": self.gallery[row], "similarity": float(self.similarity[i, row])} for row in rows]
            if self.probability is not None:
                for one, row in zip(found, rows, strict=True):
                    one["probability"] = float(self.probability[i, row])
            about: dict[str, Any] = {"query": name, "repetitions": int(self.repetitions[i]), "best": found}
            if self.seen[i]:
                about |= {"seen": self.seen[i], "rank": None if np.isnan(rank[i]) else float(rank[i])}
            if members:
                about["sets"] = {coverage: list(sets[i]) for coverage, sets in members.items()}
            queries.append(about)
        return {"gallery_size": len(self.gallery), "notes": list(self.notes), "queries": queries}


def _largest(similarity: np.ndarray, top: int) -> np.ndarray:
    """The first `top` columns of a stable descending sort of every row, without the sort."""
    least = -np.partition(-similarity, top - 1, axis=1)[:, top - 1]
    order = np.empty((len(similarity), top), int)
    for i, (row, bound) in enumerate(zip(similarity, least, strict=True)):
        near = np.flatnonzero(row >= bound)
        order[i] = near[np.argsort(-row[near], kind="stable")][:top]
    return order
