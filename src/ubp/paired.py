"""Paired differences: are they more than chance, how large are they, and which could have been seen at all."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln
from scipy.stats import nct, norm, t

EXACT_UP_TO = 20
SIMULATED_UP_TO = 12
N_FLIPS = 100_000
N_SIMULATED = 4_000


def sign_flip_test(differences: ArrayLike, n_flips: int = N_FLIPS, seed: int = 0) -> float:
    r"""Two-sided p of the null hypothesis that each difference could as well have had the other sign.

    .. math:: p = 2^{-n} \, \#\{s \in \{-1, 1\}^n : |\sum_i s_i d_i| \ge |\sum_i d_i|\}

    All sign patterns up to 20 differences other than zero (zeros change nothing). For more, `n_flips` random ones, and
    the observed one counts among them: :math:`p = (1 + \#) / (1 + n_{flips})`.

    Parameters
    ----------
    differences : array of shape (n,)
    n_flips : int
    seed : int

    Returns
    -------
    float
        1 when all differences are zero. Source: Fisher, "The Design of Experiments", 1935, section 21; Phipson & Smyth,
        "Permutation p-values should never be zero", 2010.
    """
    values = np.asarray(differences, float)
    values = values[values != 0]
    if not len(values):
        return 1.0
    least = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if len(values) <= EXACT_UP_TO:
        return float(np.mean(np.abs(_all_sums(values)) >= least))
    random, count = np.random.default_rng(seed), 0
    block = max(1, 2_000_000 // len(values))
    for start in range(0, n_flips, block):
        size = (min(block, n_flips - start), len(values))
        flipped = random.integers(0, 2, size, np.int8).astype(np.float32) @ values.astype(np.float32)
        count += int((np.abs(2 * flipped - values.sum()) >= least - 1e-5 * np.abs(values).sum()).sum())
    return (1 + count) / (1 + n_flips)


def _all_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums under all sign patterns of all but the first value; the others are these with the opposite sign."""
    sums = values[:1]
    for value in values[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def smallest_p(n: int, n_flips: int = N_FLIPS) -> float:
    """Smallest p that :func:`sign_flip_test` can give for `n` differences: ``2 ** (1 - n)``, or one random pattern."""
    return 2.0 ** (1 - n) if n <= EXACT_UP_TO else 1 / (1 + n_flips)


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    r"""Holm's adjusted p of a family of tests, in the order given.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) \, p_{(j)})

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    values = np.asarray(p, float)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(np.minimum(1, np.arange(len(values), 0, -1) * values[order]))
    return adjusted


def cohen_d_z(differences: ArrayLike) -> float:
    r"""Mean difference over its standard deviation, :math:`d_z = \bar d / s_d` with `n - 1`.

    NaN for fewer than two differences, or when none varies and none differs from zero.
    """
    values = np.asarray(differences, float)
    if len(values) < 2:
        return float("nan")
    mean, deviation = float(values.mean()), _deviation(values)
    if deviation == 0:
        return float("nan") if mean == 0 else float(np.copysign(np.inf, mean))
    return mean / deviation


def hedges_g_z(differences: ArrayLike) -> float:
    r"""Cohen's :math:`d_z` without its bias in small samples.

    .. math:: g_z = d_z \, \frac{\Gamma(m / 2)}{\sqrt{m / 2} \, \Gamma((m - 1) / 2)}, \quad m = n - 1

    NaN for fewer than three differences. Source: Hedges, "Distribution theory for Glass's estimator of effect size and
    related estimators", 1981.
    """
    n = len(np.asarray(differences, float))
    if n < 3:
        return float("nan")
    m = n - 1
    return cohen_d_z(differences) * float(np.exp(gammaln(m / 2) - gammaln((m - 1) / 2)) / np.sqrt(m / 2))


def _deviation(values: NDArray[np.float64]) -> float:
    """Sample standard deviation; rounding does not count."""
    deviation = float(np.std(values, ddof=1))
    return deviation if deviation > 1e-12 * float(np.abs(values).max(initial=0)) else 0.0


def detectable_difference(differences: ArrayLike, power: float = 0.8, alpha: float = 0.05) -> float:
    r"""Smallest true mean that :func:`sign_flip_test` would have found with this power, at this level.

    For independent differences from a normal distribution with mean :math:`\delta` and the standard deviation
    :math:`s_d` observed, it is

    .. math:: \delta^* = \min\{\delta : P(p \le \alpha) \ge power\} = \kappa(n) \, s_d

    Up to 12 differences :math:`\kappa` is found by seeded simulation of the exact test, which of few signs has less
    power than a t-test. For more it is that of the paired t-test, with :math:`t^*` the :math:`1 - \alpha / 2` quantile
    of Student's distribution and `T` noncentral t:

    .. math:: P(T_{n - 1}(\kappa \sqrt n) > t^*) = power

    Parameters
    ----------
    differences : array of shape (n,)
    power, alpha : float

    Returns
    -------
    float
        In the unit of the differences; infinite when no sign pattern has a p as small as `alpha`; NaN when there are
        fewer than two.
    """
    values = np.asarray(differences, float)
    if len(values) < 2:
        return float("nan")
    effect = detectable_effect(len(values), power, alpha)
    return effect * _deviation(values) if np.isfinite(effect) else effect


@lru_cache(maxsize=256)
def detectable_effect(n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The factor of :func:`detectable_difference`, in standard deviations of the differences."""
    if smallest_p(n) > alpha * (1 + 1e-9):
        return float("inf")
    return _by_simulation(n, power, alpha) if n <= SIMULATED_UP_TO else _by_noncentral_t(n, power, alpha)


def _by_noncentral_t(n: int, power: float, alpha: float) -> float:
    critical = t.ppf(1 - alpha / 2, n - 1)

    def lacking(shift: float) -> float:
        return float(nct.sf(critical, n - 1, shift)) - power

    high = float(critical)
    while lacking(high) < 0:
        high *= 1.1
    return float(brentq(lacking, 0, high)) / float(np.sqrt(n))


def _by_simulation(n: int, power: float, alpha: float) -> float:
    noise = np.random.default_rng(n).standard_normal((N_SIMULATED, n)).astype(np.float32)
    signs = np.array([[1 - 2 * (pattern >> place & 1) for place in range(n)] for pattern in range(2 ** (n - 1))])
    # Of all sign patterns, the observed one may be among the largest so many.
    allowed = int(alpha * len(signs) * (1 + 1e-9))
    spread, totals = noise @ signs.T.astype(np.float32), signs.sum(axis=1).astype(np.float32)

    def reached(effect: float) -> float:
        sums = np.abs(spread + np.float32(effect) * totals)
        return float(np.mean((sums >= sums[:, :1]).sum(axis=1) <= allowed))

    low, high = 0.0, float(2 * norm.ppf(power ** (1 / n)) + 4)
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high
