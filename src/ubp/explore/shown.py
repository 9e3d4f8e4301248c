"""Queries and images as plain content for a page: images by number, never by path."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ubp.explore.answers import Answered, most, nearest, ranked_above
from ubp.explore.sources import ALL, EACH, Source

TOP, SIMILAR, SET_SHOWN = 10, 8, 60


class Shown:
    """Makes content of queries.

    Parameters
    ----------
    row : mapping of str to int
        Number of each image on the page.
    names : mapping of str to str
        What to call an image; by default its file's name.
    """

    def __init__(self, row: Mapping[str, int], names: Mapping[str, str]) -> None:
        self.row, self.names = row, names

    def image(self, image: str) -> dict[str, Any]:
        """An image's number and name; no number for one that is not in the gallery."""
        return {"row": self.row.get(image), "name": self.names.get(image, PurePosixPath(image).stem)}

    def query(self, answered: Answered, query: int) -> dict[str, Any]:
        """A query in a list: what it is called, what was seen, and the rank of that."""
        queries, rank = answered.queries, float(answered.rank[query])
        image = queries.images[query]
        title = self.image(image)["name"] if image and image == queries.names[query] else queries.names[query]
        return {"title": title, "rank": None if np.isnan(rank) else rank, **self.image(image)}

    def above(self, answered: Answered, top: int) -> list[dict[str, Any]]:
        """Images that are most often more similar than the image seen."""
        counts = ranked_above(answered.found.similarity, answered.target)
        return [
            {"count": int(counts[place]), **self.image(answered.found.gallery[place])} for place in most(counts, top)
        ]

    def trial(self, answered: Answered, query: int) -> dict[str, Any]:
        """A query with its ranking, probabilities and sets, and the other queries most like it."""
        found, target = answered.found, int(answered.target[query])
        order = np.argsort(-found.similarity[query], kind="stable")
        seen = int(np.flatnonzero(order == target)[0]) if target >= 0 else None
        rows, cosines = nearest(answered.brain, answered.queries.images, query, SIMILAR)
        return {
            **self.query(answered, query),
            "repetitions": int(found.repetitions[query]),
            "gallery_size": len(order),
            "best": [self._placed(answered, query, place, order) for place in range(min(TOP, len(order)))],
            "seen": None if seen is None else self._placed(answered, query, seen, order),
            "sets": {
                f"{100 * coverage:g}": self._set(answered, order, int(sizes[query]), seen)
                for coverage, sizes in found.set_sizes.items()
            },
            "similar": [
                {"query": int(row), "cosine": float(cosine), **self.query(answered, int(row))}
                for row, cosine in zip(rows, cosines, strict=True)
            ],
        }

    def _placed(self, answered: Answered, query: int, place: int, order: np.ndarray) -> dict[str, Any]:
        found, column = answered.found, int(order[place])
        sets = [f"{100 * coverage:g}" for coverage, sizes in found.set_sizes.items() if place < sizes[query]]
        probability = None if found.probability is None else float(found.probability[query, column])
        return {
            **self.image(found.gallery[column]),
            "place": place + 1,
            "cosine": float(found.similarity[query, column]),
            "probability": probability,
            "sets": sets,
            "is_seen": column == int(answered.target[query]),
        }

    def _set(self, answered: Answered, order: np.ndarray, size: int, seen: int | None) -> dict[str, Any]:
        members = [self.image(answered.found.gallery[column]) for column in order[: min(size, SET_SHOWN)]]
        return {
            "size": size,
            "whole": size == len(order),
            "holds_seen": None if seen is None else seen < size,
            "images": members,
        }


def source_entry(source: Source) -> dict[str, Any]:
    """A recording in a list, and the ways to make queries of it."""
    return {
        "name": source.name,
        "title": source.title,
        "from_study": source.from_study,
        "trials": len(source.given.names),
        "repetitions": [{"value": value, "title": _repetitions_title(source, value)} for value in source.repetitions],
        "chosen": EACH if EACH in source.repetitions else ALL,
        "notes": list(source.notes),
    }


def _repetitions_title(source: Source, value: str) -> str:
    if value == EACH:
        return "each trial"
    return f"all ({source.most_repetitions})" if value == ALL else value
