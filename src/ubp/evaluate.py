"""Zero-shot retrieval on the test split: where the seen image ranks among the gallery, and how sure that figure is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ubp.data.study import Study, Trials
from ubp.errors import InputError
from ubp.files import write_text
from ubp.metrics import (
    chance,
    cosine_similarity,
    n_way_accuracy,
    ranks,
    top_k,
)
from ubp.statistics import bootstrap_interval

Similarity = Callable[[np.ndarray, np.ndarray], np.ndarray]

RANKS = "ranks.csv"
INDUCTIVE = "inductive"
UNLABELLED_TRIALS = ", unlabelled training trials of the subject"
"""What a protocol's label says, at its end, of models whose signals are aligned by them."""
UNLABELLED = INDUCTIVE + UNLABELLED_TRIALS
N_BEST = 5
LARGER_K = 5


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
        `inductive`: every query is ranked alone among the test images, nothing is fitted on the test trials.
        `inductive, unlabelled training trials of the subject`: the same, by a model that was not trained on the
        subject, whose signals are aligned by trials of the training split, without their images.
        `inductive, class features`: the same among the test concepts, by features of their classes.
    n_way : tuple of int
        Further gallery sizes to report top-1 for.
    k : int
        The larger of the two top-k figures.
    """

    gallery_level: str
    repetitions: int | None = None
    average: bool = True
    kind: str = INDUCTIVE
    n_way: tuple[int, ...] = ()
    k: int = 5


@dataclass(frozen=True)
class Ranking:
    """Every test query's ranked gallery.

    Parameters
    ----------
    queries : tuple of str
        Image seen in each query, or its concept.
    gallery : tuple of str
        The distinct test images, or concepts.
    similarity : array of shape (n_queries, n_gallery), float32
        Cosine of query and gallery image, or another score that is higher the better they fit.
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


def larger_k(study: Study) -> int:
    """The k of the second top-k figure: 5, or all images of the smallest gallery of a subject."""
    tables = [recording.trials for recording in study.recordings.values()]
    sizes = [table.loc[table["split"] == "test", "image"].nunique() for table in tables]
    return min([LARGER_K, *(size for size in sizes if size)])


def rank_gallery(
    brain: np.ndarray,
    trials: Trials,
    vision: np.ndarray,
    gallery: Sequence[str],
    similarity: Similarity = cosine_similarity,
    by_concept: bool = False,
) -> Ranking:
    """Rank the gallery for every trial.

    Parameters
    ----------
    brain : array of shape (n_trials, embed_dim)
        Embeddings of `trials.signals`.
    trials : Trials
    vision : array of shape (n_gallery, embed_dim)
    gallery : sequence of str
        Image of each row of `vision`, or its concept.
    similarity : callable
        Of brain and vision, of shape (n_trials, n_gallery).
    by_concept : bool
        The gallery holds concepts.
    """
    queries = trials.concepts if by_concept else trials.images
    return Ranking(tuple(queries), tuple(gallery), similarity(brain, vision), np.asarray(trials.repetitions))


@dataclass(frozen=True)
class Decoder:
    """A trained method of one subject, with the gallery it ranks.

    Parameters
    ----------
    row : dict
        What names it in a table of results: study, setting, subject, method, seed, options.
    embed : callable
        Signals of shape (n, n_channels, n_times) to embeddings of shape (n, embed_dim).
    vision : array of shape (n_gallery, embed_dim)
    gallery : tuple of str
        Image of each row of `vision`.
    gallery_level : str
        Blur of those images.
    folder : Path, optional
        Where its `ranks.csv` belongs.
    similarity : callable
        Of brain embeddings and `vision`; the cosine by default.
    by_concept : bool
        The gallery holds concepts and features of their classes.
    protocol : str
        What it knows of the subject, see `Protocol.kind`.
    """

    row: dict[str, Any]
    embed: Callable[[np.ndarray], np.ndarray]
    vision: np.ndarray
    gallery: tuple[str, ...]
    gallery_level: str
    folder: Path | None = None
    similarity: Similarity = cosine_similarity
    by_concept: bool = False
    protocol: str = INDUCTIVE

    def rank(self, test: Trials) -> Ranking:
        """Rank the gallery for every test trial."""
        brain = self.embed(test.signals)
        return rank_gallery(brain, test, self.vision, self.gallery, self.similarity, self.by_concept)


def score(ranking: Ranking, protocol: Protocol) -> dict[str, Any]:
    """All metrics of a ranking, their chance levels and intervals over images, as one flat row.

    Every image counts the same, however many queries show it.

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
    row: dict[str, Any] = {
        "gallery_size": n_gallery,
        "gallery_level": protocol.gallery_level,
        "queries": len(rank),
        "query": "mean of repetitions" if protocol.average else "single trial",
        "repetitions": float(ranking.repetitions.mean()),
        "protocol": protocol.kind,
    }
    accuracies: dict[str, tuple[np.ndarray, float]] = {
        f"top{k}": (hit, chance(n_gallery, k)) for k, hit in hits.items()
    }
    accuracies |= {f"top1_of_{n}": (hit, 1 / n) for n, hit in ways.items()}
    for name, (hit, by_chance) in accuracies.items():
        values = by_image(hit, ranking.queries)
        low, high = bootstrap_interval([values.to_numpy()[None]])
        row |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high, f"{name}_chance": by_chance}
    matched = np.take_along_axis(ranking.similarity, ranking.target[:, None], axis=1)[:, 0]
    return row | {
        "mean_reciprocal_rank": float(by_image(1 / rank, ranking.queries).mean()),
        "mean_percentile_rank": float(by_image((n_gallery - rank) / (n_gallery - 1), ranking.queries).mean()),
        "matched_similarity": float(by_image(matched, ranking.queries).mean()),
    }


def by_image(values: np.ndarray, images: Sequence[str]) -> pd.Series:
    """Mean of the values by image, sorted by name, so that repeated queries of an image are one unit."""
    return pd.Series(np.asarray(values, float)).groupby(list(images)).mean()


def save_ranking(ranking: Ranking, folder: Path) -> None:
    """Write the ranking's table to `ranks.csv`, atomically."""
    write_text(folder / RANKS, ranking.table().to_csv(index=False))


def read_ranks(folder: Path, runs: Path | None = None, best: bool = False) -> pd.DataFrame:
    """Read the `ranks.csv` of an evaluated run.

    Parameters
    ----------
    folder : Path
        Of the run.
    runs : Path, optional
        Folder of all runs, to name in what is raised.
    best : bool
        Read the names of the best images too.

    Returns
    -------
    DataFrame
        One row a query: image (str), rank and repetitions (float64), and perhaps best_1, best_2, ... (str).

    Raises
    ------
    InputError
        When it is missing, or is not such a table.
    """
    path, again = folder / RANKS, f"run `ubp evaluate {runs}`" if runs else "run `ubp evaluate` on this run"
    numbers = {"rank": float, "repetitions": float}
    wanted = ("image", *numbers)
    try:
        table = pd.read_csv(
            path,
            usecols=lambda name: name in wanted or (best and name.startswith("best_")),
            dtype=str,
            keep_default_na=False,
        )
        return table.astype({"image": str, **numbers})
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; {again} to make it.") from error
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as ranks; {again} to make it anew.") from error
