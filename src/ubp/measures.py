"""What methods can be compared by: a score of every rank, and its value by chance."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ubp.config import unknown
from ubp.errors import InputError
from ubp.metrics import chance, top_k

SHOWN = ("top1", "top5", "top10")


@dataclass(frozen=True)
class Measure:
    """A score of ranks; larger is better.

    Parameters
    ----------
    name : str
        As in `results.csv`.
    label : str
        For tables and axes.
    score : callable
        Ranks of shape (n,) and the gallery's size to scores of shape (n,).
    by_chance : callable
        Gallery size to the mean score of a random ranking.
    percent : bool
        Whether it is a share of queries, shown in per cent; a difference is then a risk difference, in points.
    """

    name: str
    label: str
    score: Callable[[np.ndarray, int], np.ndarray]
    by_chance: Callable[[int], float]
    percent: bool

    @property
    def heading(self) -> str:
        """The label with its unit."""
        return f"{self.label} %" if self.percent else self.label

    def shown(self, value: float, sign: bool = False) -> str:
        """A value as text, in the unit of the heading; `sign` writes the plus of a difference."""
        number, digits = (100 * value, 1) if self.percent else (value, 3)
        return f"{number:+.{digits}f}" if sign else f"{number:.{digits}f}"


def _top(k: int) -> Measure:
    def score(rank: np.ndarray, n_gallery: int) -> np.ndarray:
        try:
            return top_k(rank, k, n_gallery).astype(float)
        except ValueError as error:
            raise InputError(str(error)) from error

    return Measure(f"top{k}", f"top-{k}", score, lambda n: chance(n, k), percent=True)


def measure(name: str) -> Measure:
    """A measure by name.

    Parameters
    ----------
    name : str
        `top1`, `top5` or any other `topK`: whether the seen image is among the K best. `mean_reciprocal_rank`: mean of
        1 / rank, by chance ``H_n / n``. `mean_percentile_rank`: mean of (n - rank) / (n - 1), by chance 0.5.

    Raises
    ------
    InputError
        When there is none of that name.
    """
    if re.fullmatch(r"top[1-9]\d{0,5}", name):
        return _top(int(name[3:]))
    if name not in MEASURES:
        raise unknown("metric", name, (*SHOWN, *MEASURES))
    return MEASURES[name]


MEASURES = {
    "mean_reciprocal_rank": Measure(
        "mean_reciprocal_rank",
        "mean reciprocal rank",
        lambda rank, n_gallery: 1 / rank,
        lambda n_gallery: float(np.mean(1 / np.arange(1, n_gallery + 1))),
        percent=False,
    ),
    "mean_percentile_rank": Measure(
        "mean_percentile_rank",
        "mean percentile rank",
        lambda rank, n_gallery: (n_gallery - rank) / (n_gallery - 1),
        lambda n_gallery: 0.5,
        percent=False,
    ),
}
