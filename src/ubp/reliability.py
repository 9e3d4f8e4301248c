"""How far trials of one image agree: variance of images and of trials, noise ceiling, split-half reliability.

Every function takes trials in blocks, an iterable of `(signals, image)`: signals of shape (n_trials, ...) and a number
that names the image of each trial. All trials of an image come in one block, so that data larger than memory can be
summarised; `[(signals, image)]` is one block. Results have the shape of one trial, in float64.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Array = NDArray[np.float64]
Blocks = Iterable[tuple[NDArray[np.floating], NDArray[np.integer]]]

FEWEST_IMAGES = 3  # two points always lie on a line
ROUNDING = 1e-6  # a spread below this share of the mean is float32 rounding: the signal is constant


@dataclass(frozen=True, eq=False)
class Variances:
    r"""Variance components of trials :math:`x_{ir} = \mu + a_i + e_{ir}` of image i and repetition r.

    Parameters
    ----------
    n_images, n_trials : int
    mean : float64 array of the shape of one trial
        Mean over trials.
    trial : float64 array
        :math:`\sigma_e^2`, unbiased: squared deviations from the mean of the image over `n_trials - n_images`. NaN
        when no image has two trials.
    of_means : float64 array
        Variance of the image means over images, unbiased for them. NaN when there is one image.
    image : float64 array
        :math:`\sigma_a^2`, unbiased: `of_means` less the part of the noise that averaging left,
        :math:`\sigma_e^2` times the mean of :math:`1 / n_i`. Below 0 by chance where there is none.
    """

    n_images: int
    n_trials: int
    mean: Array
    trial: Array
    of_means: Array
    image: Array


def variances(blocks: Blocks) -> Variances:
    """Variance components in one pass, by the method of moments for unequal numbers of trials.

    Source: Searle, Casella & McCulloch, "Variance Components", 1992, section 3.6 (unweighted means).

    Raises
    ------
    ValueError
        When there is no trial.
    """
    n_images = n_trials = 0
    inverse = 0.0
    total = within = centre = between = np.zeros(())
    for signals, image in blocks:
        for some in _by_image(image):
            trials = signals[some].astype(np.float64)
            average = trials.mean(axis=0)
            trials -= average
            n_images, n_trials, inverse = n_images + 1, n_trials + len(some), inverse + 1 / len(some)
            total = total + len(some) * average
            within = within + np.square(trials, out=trials).sum(axis=0)
            step = average - centre
            centre = centre + step / n_images
            between = between + step * (average - centre)
    if not n_trials:
        raise ValueError("There is no trial; expected at least one block of trials.")
    noise = within / (n_trials - n_images) if n_trials > n_images else np.full_like(total, np.nan)
    of_means = between / (n_images - 1) if n_images > 1 else np.full_like(total, np.nan)
    mean = total / n_trials
    flat = _constant(of_means + np.nan_to_num(noise), mean)
    noise, of_means = np.where(flat, 0.0, noise), np.where(flat, 0.0, of_means)
    return Variances(n_images, n_trials, mean, noise, of_means, of_means - noise * inverse / n_images)


def explainable_variance(found: Variances) -> Array:
    r"""Share of the variance of image means that the images explain, :math:`\sigma_a^2 / V`, V the variance of means.

    It is the reliability of the means, and the largest R² of a model that predicts them from the images. NaN where
    the signal is constant or no image has two trials.
    """
    return np.divide(found.image, found.of_means, out=np.full_like(found.image, np.nan), where=found.of_means > 0)


def noise_ceiling(found: Variances) -> Array:
    r"""Largest correlation with image means that a model of the images can reach, :math:`\sqrt{\max(0, \sigma_a^2/V)}`.

    Source: Schoppe et al., "Measuring the performance of neural models", Frontiers in Computational Neuroscience 10,
    2016. NaN as in :func:`explainable_variance`.
    """
    return np.sqrt(np.maximum(explainable_variance(found), 0.0))


def trial_variability(found: Variances) -> Array:
    r"""Spread of trials of one image over the spread of all trials, :math:`\sigma_e / \sqrt{\sigma_e^2 + \sigma_a^2}`.

    0: trials of an image are all alike; 1: they differ as much as trials of different images. It does not depend on
    the unit or the scale of a channel, nor on the number of repetitions. NaN as in :func:`explainable_variance`.
    """
    everything = found.trial + np.maximum(found.image, 0.0)
    share = np.divide(found.trial, everything, out=np.full_like(everything, np.nan), where=everything > 0)
    return np.sqrt(share)


def signal_variability(found: Variances, channels: NDArray[np.integer] | None = None) -> float:
    r"""How variable the signals of one subject are: the mean over channels and times of :func:`trial_variability`.

    .. math:: v = \frac{1}{C T} \sum_{ct} \frac{\sigma_{e,ct}}{\sqrt{\sigma_{e,ct}^2 + \sigma_{a,ct}^2}}

    0: trials of an image are all alike; 1: they differ as much as trials of different images. It has no unit and
    depends neither on the scale of a channel nor on the number of trials, so subjects of one study can be compared.

    The paper of the method (Wu et al., CVPR 2025) correlates a "variability" of each subject with its accuracy. Its
    main text does not define it; this definition is ours, so figures are comparable with the published ones in sign and
    order at best.

    Parameters
    ----------
    found : Variances
        Of arrays of shape (n_channels, n_times).
    channels : int array, optional
        Rows to take; by default all. Constant channels have no part.

    Raises
    ------
    ValueError
        When no image has two trials, or every channel is constant.
    """
    values = trial_variability(found)
    values = values if channels is None else values[channels]
    if not np.isfinite(values).any():
        raise ValueError("No image has two trials of a signal that changes; variability needs repeated trials.")
    return float(np.nanmean(values))


def split_half(blocks: Blocks, n_splits: int = 10, seed: int = 0) -> Array:
    r"""Correlation over images of the means of two random halves of their trials, averaged over splits.

    An image with an odd number of trials has one more in its second half; images with one trial are left out. An
    image's halves depend on `seed` and its number alone. Expected value for n trials an image:
    :math:`\sigma_a^2 / (\sigma_a^2 + 2 \sigma_e^2 / n)`.

    Parameters
    ----------
    blocks : iterable of (signals, image)
    n_splits : int
    seed : int

    Returns
    -------
    float64 array of the shape of one trial
        NaN where a half is constant, or with fewer than 3 images that have two trials.
    """
    moments = [_Comoments() for _ in range(n_splits)]
    for signals, image in blocks:
        groups = [some for some in _by_image(image) if len(some) > 1]
        if not groups:
            continue
        flat = signals.reshape(len(signals), -1).astype(np.float64)
        drawn = [np.random.default_rng([seed, int(image[some[0]])]).random((n_splits, len(some))) for some in groups]
        for split, moment in enumerate(moments):
            order = [some[np.argsort(keys[split])] for some, keys in zip(groups, drawn, strict=True)]
            first = _mean_of([some[: len(some) // 2] for some in order], len(flat))
            second = _mean_of([some[len(some) // 2 :] for some in order], len(flat))
            moment.add(first @ flat, second @ flat)
        shape = signals.shape[1:]
    if not moments or moments[0].n < FEWEST_IMAGES:
        return np.full(shape if moments and moments[0].n else (), np.nan)
    return np.mean([moment.correlation() for moment in moments], axis=0).reshape(shape)


def spearman_brown(correlation: Array) -> Array:
    r"""Reliability of the mean of all trials from the correlation r of its halves, :math:`2r / (1 + |r|)`.

    The formula of Spearman and Brown (1910) for r from 0; below 0, where it has no meaning, its mirror image, so that
    signals without reliability scatter evenly about 0.
    """
    return 2 * correlation / (1 + np.abs(correlation))


def _by_image(image: NDArray[np.integer]) -> Iterator[NDArray[np.intp]]:
    order = np.argsort(image, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(image[order])) + 1) if len(order) else ()


def _mean_of(groups: list[NDArray[np.intp]], n_trials: int) -> csr_array:
    sizes = [len(some) for some in groups]
    weights = np.repeat(1 / np.array(sizes), sizes)
    return csr_array((weights, np.concatenate(groups), np.cumsum([0, *sizes])), shape=(len(groups), n_trials))


def _constant(variance: Array, mean: Array) -> NDArray[np.bool_]:
    return ~(variance > (ROUNDING * mean) ** 2)


class _Comoments:
    """Means, variances and covariance of two variables, from blocks (Chan, Golub & LeVeque, 1983)."""

    def __init__(self) -> None:
        self.n = 0
        self.means = np.zeros((2, 1))
        self.squares = np.zeros((3, 1))  # of the first, of the second, and of the product

    def add(self, first: Array, second: Array) -> None:
        n, m = self.n, len(first)
        means = np.stack([first.mean(axis=0), second.mean(axis=0)])
        first, second = first - means[0], second - means[1]
        step = means - self.means
        squares = np.stack([np.einsum("if,if->f", a, b) for a, b in _pairs(first, second)])
        self.squares = self.squares + squares + np.stack([a * b for a, b in _pairs(*step)]) * (n * m / (n + m))
        self.means = self.means + step * (m / (n + m))
        self.n = n + m

    def correlation(self) -> Array:
        a, b, ab = self.squares
        flat = _constant(a / self.n, self.means[0]) | _constant(b / self.n, self.means[1])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(flat, np.nan, ab / np.sqrt(a * b))


def _pairs(a: Array, b: Array) -> tuple[tuple[Array, Array], ...]:
    return (a, a), (b, b), (a, b)
