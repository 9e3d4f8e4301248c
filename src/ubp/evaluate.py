"""Zero-shot retrieval on the test split: where the seen image ranks among the gallery, and how sure that figure is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ubp.data.study import Trials
from ubp.errors import InputError
from ubp.files import write_text
from ubp.metrics import (
    chance,
    cosine_similarity,
    mean_percentile_rank,
    mean_reciprocal_rank,
    n_way_accuracy,
    ranks,
    top_k,
)
from ubp.statistics import bootstrap_interval

RANKS = "ranks.csv"
N_BEST = 5


@dataclass(frozen=True)
class Protocol:
    """How a score was made; part of every result.

    Parameters
    ----------
    gallery_level : str
        Blur of the gallery's images.
    repetitions : int or None
        Test repetitions averaged per query; None for all there are.
    average : bool
        False ranks every single trial.
    kind : str
        `inductive`: every query is ranked alone, nothing is fitted on the test trials.
    n_way : tuple of int
        Further gallery sizes to report top-1 for.
    k : int
        The larger of the two top-k figures.
    """

    gallery_level: str
    repetitions: int | None = None
    average: bool = True
    kind: str = "inductive"
    n_way: tuple[int, ...] = ()
    k: int = 5


@dataclass(frozen=True)
class Ranking:
    """Every test query's ranked gallery.

    Parameters
    ----------
    queries : tuple of str
        Image seen in each query.
    gallery : tuple of str
        The distinct test images.
    similarity : array of shape (n_queries, n_gallery), float32
        Cosine of query and gallery image.
    repetitions : integer array of shape (n_queries,)
        Trials averaged in each query.
    """

    queries: tuple[str, ...]
    gallery: tuple[str, ...]
    similarity: np.ndarray
    repetitions: np.ndarray
    target: np.ndarray = field(init=False)
    rank: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        if len(self.gallery) < 2:
            raise InputError(f"The gallery has {len(self.gallery)} image; ranking needs at least 2 test images.")
        row = {image: index for index, image in enumerate(self.gallery)}
        object.__setattr__(self, "target", np.array([row[image] for image in self.queries]))
        object.__setattr__(self, "rank", ranks(self.similarity, self.target))

    def best(self, n: int = N_BEST) -> np.ndarray:
        """Gallery rows of the `n` most similar images, best first, shape (n_queries, n)."""
        return np.argsort(-self.similarity, axis=1, kind="stable")[:, :n]

    def table(self) -> pd.DataFrame:
        """One row a query: the image seen, its rank and similarity, and the best images."""
        best = self.best(min(N_BEST, len(self.gallery)))
        matched = np.take_along_axis(self.similarity, self.target[:, None], axis=1)[:, 0]
        table = pd.DataFrame(
            {"image": self.queries, "rank": self.rank, "similarity": matched, "repetitions": self.repetitions}
        )
        for place in range(best.shape[1]):
            table[f"best_{place + 1}"] = [self.gallery[row] for row in best[:, place]]
        return table


def rank_gallery(brain: np.ndarray, trials: Trials, vision: np.ndarray, gallery: Sequence[str]) -> Ranking:
    """Rank the gallery for every trial.

    Parameters
    ----------
    brain : array of shape (n_trials, embed_dim)
        Embeddings of `trials.signals`.
    trials : Trials
    vision : array of shape (n_gallery, embed_dim)
    gallery : sequence of str
        Image of each row of `vision`.
    """
    return Ranking(
        tuple(trials.images), tuple(gallery), cosine_similarity(brain, vision), np.asarray(trials.repetitions)
    )


def score(ranking: Ranking, protocol: Protocol) -> dict[str, Any]:
    """All metrics of a ranking, its chance levels and an interval over images, as one flat row.

    Raises
    ------
    InputError
        When `k` or an n-way size is larger than the gallery.
    """
    rank, n_gallery = ranking.rank, len(ranking.gallery)
    try:
        hits = {k: top_k(rank, k, n_gallery) for k in (1, protocol.k)}
        ways = {n: n_way_accuracy(ranking.similarity, ranking.target, n) for n in protocol.n_way}
    except ValueError as error:
        raise InputError(str(error)) from error
    low, high = bootstrap_interval([by_image(hits[1], ranking.queries)[None]])
    matched = np.take_along_axis(ranking.similarity, ranking.target[:, None], axis=1)
    row = {
        "gallery_size": n_gallery,
        "gallery_level": protocol.gallery_level,
        "queries": len(rank),
        "repetitions": float(ranking.repetitions.mean()),
        "protocol": protocol.kind,
        "top1": float(hits[1].mean()),
        "top1_low": low,
        "top1_high": high,
        "top1_chance": chance(n_gallery),
        f"top{protocol.k}": float(hits[protocol.k].mean()),
        f"top{protocol.k}_chance": chance(n_gallery, protocol.k),
        "mean_reciprocal_rank": mean_reciprocal_rank(rank),
        "mean_percentile_rank": mean_percentile_rank(rank, n_gallery),
        "matched_similarity": float(matched.mean()),
    }
    return row | {f"top1_of_{n}": float(hit.mean()) for n, hit in ways.items()}


def by_image(values: np.ndarray, images: Sequence[str]) -> np.ndarray:
    """Mean of the values per image, images sorted by name, so that repeated queries of an image are one unit."""
    return pd.Series(np.asarray(values, float)).groupby(list(images)).mean().to_numpy()


def save_ranking(ranking: Ranking, folder: Path) -> None:
    """Write the ranking's table to `ranks.csv`, atomically."""
    write_text(folder / RANKS, ranking.table().to_csv(index=False))
