"""Correlations over subjects, with intervals that say how little a few subjects tell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST = 3  # two points always lie on a line


@dataclass(frozen=True)
class Correlation:
    """A correlation with its bootstrap interval.

    Parameters
    ----------
    value : float
        NaN where there are fewer than 3 points or one of the variables is constant.
    low, high : float
        NaN where the value is.
    n : int
        Points.
    """

    value: float
    low: float
    high: float
    n: int


def correlate(
    first: ArrayLike,
    second: ArrayLike,
    kind: str = "pearson",
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Correlation:
    r"""Correlate two variables of the same subjects.

    .. math:: r = \frac{\sum_i (x_i - \bar x)(y_i - \bar y)}{\sqrt{\sum_i (x_i - \bar x)^2 \sum_i (y_i - \bar y)^2}}

    for Pearson, and the same of the ranks, ties sharing their mean rank, for Spearman. The interval is the percentile
    bootstrap over subjects; resamples in which a variable is constant have no correlation and are left out. With few
    subjects it is wide, and too narrow all the same (it covers less than it says below about 10).

    Parameters
    ----------
    first, second : arrays of shape (n,)
    kind : {"pearson", "spearman"}
    confidence : float
    n_resamples : int
    seed : int

    Raises
    ------
    ValueError
        When the kind is unknown, the lengths differ, or a value is not finite.
    """
    x, y = np.asarray(first, float), np.asarray(second, float)
    if kind not in KINDS:
        raise ValueError(f"The correlation {kind!r} is unknown; expected one of {', '.join(KINDS)}.")
    if x.ndim != 1 or x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"The variables have shapes {x.shape} and {y.shape}; expected finite numbers of one length.")
    nan = float("nan")
    if len(x) < FEWEST:
        return Correlation(nan, nan, nan, len(x))
    drawn = np.random.default_rng(seed).integers(len(x), size=(n_resamples, len(x)))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(KINDS[kind](x[None], y[None])[0])
        if not np.isfinite(value):
            return Correlation(nan, nan, nan, len(x))
        values = KINDS[kind](x[drawn], y[drawn])
    low, high = np.quantile(values[np.isfinite(values)], [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Correlation(value, float(low), float(high), len(x))


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of every row; NaN where one is constant."""
    constant = (np.ptp(x, axis=1) == 0) | (np.ptp(y, axis=1) == 0)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    result = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.where(constant, np.nan, np.clip(result, -1, 1))


def _spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    return _pearson(rankdata(x, axis=1), rankdata(y, axis=1))


KINDS = {"pearson": _pearson, "spearman": _spearman}
