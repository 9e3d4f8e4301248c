r"""Numbers of confidence: a temperature by likelihood, sets that hold the seen image, and how honest probabilities are.

A query `q` has a similarity `s(q, v)` to an image `v`, which is a cosine times a factor of the query. Divided by a
temperature `T` it is compared with what *other* images get, those of a fixed reference `R` that no one trained on:

.. math:: l(q, v) = \frac{s(q, v)}{T} - \log \frac{1}{|R|} \sum_{r \in R} e^{s(q, r) / T}

This is the logarithm of the likelihood ratio "the query saw `v`" to "it saw another image", which the contrastive loss
estimates. Among `M` images that are equally likely, the seen one then has about the probability

.. math:: p_M(q, v) = \frac{e^{l(q, v)}}{e^{l(q, v)} + M - 1}

The set is all gallery images with :math:`l(q, v) \ge \tau`. Two things follow. First, `l` depends on the query and the
one image, not on the gallery, so `tau` from calibration pairs covers the seen image in a gallery of any size and
content: exchangeable pairs are all that is needed, while a rank or a share of probability among 60 calibration images
would not carry over to 200 others. A larger gallery costs larger sets, not coverage. Second, by the lemma of Neyman and
Pearson no other rule that looks at a pair at a time keeps the seen image as often with fewer others, if `l` is the
likelihood ratio; and as `p_M` rises with `l` for every `M`, the rule is a threshold on the probability (Sadinle, Lei
and Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 2019).
"""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

TEMPERATURES = (1e-3, 1e3)
COVERAGES = (0.8, 0.9, 0.95)


def log_ratio(similarity: np.ndarray, reference: np.ndarray, temperature: float) -> np.ndarray:
    """The `l` of the module.

    Parameters
    ----------
    similarity : array of shape (n, n_gallery)
        Of queries and images.
    reference : array of shape (n, n_reference)
        Of the same queries and the reference.
    temperature : float

    Returns
    -------
    array of shape (n, n_gallery), float64
    """
    base = logsumexp(np.asarray(reference, np.float64) / temperature, axis=1) - math.log(reference.shape[1])
    return np.asarray(similarity, np.float64) / temperature - base[:, None]


def negative_log_likelihood(matched: np.ndarray, others: np.ndarray, mask: np.ndarray, temperature: float) -> float:
    r"""Mean of :math:`-\log p` of the seen image among itself and the others: softmax of similarity over temperature.

    Parameters
    ----------
    matched : array of shape (n,)
        Similarity of each query and the image it saw.
    others : array of shape (n, n_reference)
        And the reference.
    mask : bool array of shape (n, n_reference)
        Which of the reference are its others: not the image seen, nor one of its concept.
    temperature : float
    """
    excess = (others - matched[:, None]) / temperature
    return float(np.logaddexp(0, logsumexp(excess, axis=1, b=mask)).mean())


def fit_temperature(matched: np.ndarray, others: np.ndarray, mask: np.ndarray) -> float:
    """Temperature with the least :func:`~ubp.conformal.negative_log_likelihood`, within `TEMPERATURES`.

    It is fitted in the gallery that the reference makes, each of its images once, and used in galleries of any size:
    the temperature that turns similarities into likelihood ratios does not depend on the size. Counting each image of
    the reference several times, to be like a larger gallery, would bring no better best rival, and so a temperature
    that is too low.

    The scale of contrast differs between losses, so the search is over the logarithm: the best of a coarse grid, and
    then Brent's method around it.
    """

    def loss(logarithm: float) -> float:
        return negative_log_likelihood(matched, others, mask, math.exp(logarithm))

    grid = np.linspace(math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]), 49)
    best = int(np.argmin([loss(value) for value in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)


def threshold(scores: np.ndarray, coverage: float) -> float:
    r"""Least score that a set of the given coverage admits: split conformal prediction with its finite-sample quantile.

    With `n` calibration scores it is the `k`-th smallest, :math:`k = \lfloor (1 - c)(n + 1) \rfloor`. If the score
    of a new query's own image is exchangeable with them, it is at least that with probability
    :math:`1 - k / (n + 1) \ge c`, exactly so without ties. Given one calibration, coverage varies around it as
    :math:`Beta(n + 1 - k, k)`.

    Parameters
    ----------
    scores : array of shape (n,)
        Of calibration queries and the images that they saw.
    coverage : float
        In (0, 1).

    Returns
    -------
    float
        Minus infinity, so that the set is the whole gallery, where `k` is 0: below :math:`1 / (1 - c) - 1` scores.

    References
    ----------
    Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005; Angelopoulos and Bates, "A gentle
    introduction to conformal prediction", 2021.
    """
    k = allowed_misses(len(scores), coverage)
    return float(np.sort(scores)[k - 1]) if k else -math.inf


def allowed_misses(n: int, coverage: float) -> int:
    """The `k` of :func:`threshold`; a share of n + 1 that decimals make a hair too small still counts as whole."""
    return math.floor((1 - coverage) * (n + 1) + 1e-9)


def probabilities(similarity: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax over the gallery: equally likely images, one of which was seen; (n, n_gallery), float64."""
    logits = np.asarray(similarity, np.float64) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    return logits / logits.sum(axis=1, keepdims=True)


def reliability(confidence: np.ndarray, hit: np.ndarray, n_bins: int = 10) -> np.ndarray:
    """Queries by the probability of their best image, in bins of equal width.

    Parameters
    ----------
    confidence : array of shape (n,)
        Probability of the best image, in [0, 1].
    hit : array of shape (n,)
        Whether it is the one seen.
    n_bins : int

    Returns
    -------
    array of shape (n_bins, 3)
        Queries, mean confidence and share of hits of each bin; NaN for the means of an empty one.
    """
    place = np.minimum((np.asarray(confidence) * n_bins).astype(int), n_bins - 1)
    count = np.bincount(place, minlength=n_bins)
    sums = [np.bincount(place, weights=np.asarray(values, float), minlength=n_bins) for values in (confidence, hit)]
    with np.errstate(invalid="ignore"):
        return np.stack([count, *(total / count for total in sums)], axis=1)


def expected_calibration_error(confidence: np.ndarray, hit: np.ndarray, n_bins: int = 10) -> float:
    r"""Mean distance of confidence and accuracy over bins (Guo et al., ICML 2017).

    .. math:: \sum_b \frac{n_b}{n} |acc_b - conf_b|
    """
    count, stated, found = reliability(confidence, hit, n_bins).T
    return float(np.nansum(count * np.abs(stated - found)) / count.sum())
