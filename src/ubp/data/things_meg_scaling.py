"""Scalings of the channels of a session, fitted on its training trials."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from ubp.data.whitening import noise_covariance, whiten, whitener
from ubp.errors import InputError

Blocks = Iterable[np.ndarray]
Scaling = Callable[[np.ndarray], np.ndarray]


def fit_zscore(blocks: Blocks, n_trials: int) -> Scaling:
    r"""Each channel less its mean, by its standard deviation, over all samples of all trials.

    .. math:: z_{ict} = (x_{ict} - \mu_c) / \sigma_c

    Parameters
    ----------
    blocks : iterable of float64 arrays of shape (n, n_channels, n_times)
        Training trials; read once.
    n_trials : int
        How many there are in all.

    Returns
    -------
    function of a block of trials

    Raises
    ------
    InputError
        When a channel is constant.
    """
    count, mean, square = 0, 0.0, 0.0
    for block in blocks:
        # mean and squared deviations of two sets, joined (Chan, Golub, LeVeque 1979): no loss by a large offset
        size = block.shape[0] * block.shape[2]
        here = block.mean(axis=(0, 2))
        shift = here - mean
        square = square + block.var(axis=(0, 2)) * size + shift**2 * count * size / (count + size)
        count += size
        mean = mean + shift * size / count
    deviation = np.sqrt(square / count)
    # less is the rounding of the float32 numbers in the files
    constant = np.flatnonzero(deviation <= np.finfo(np.float32).eps * np.abs(mean))
    if len(constant):
        raise InputError(
            f"{len(constant)} channels are constant over a session (the first is number {constant[0] + 1}); "
            "leave them out, or choose another scaling."
        )
    return partial(_standardise, mean=np.asarray(mean)[:, None], deviation=deviation[:, None])


def _standardise(block: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return (block - mean) / deviation


def fit_whitening(blocks: Blocks, n_trials: int) -> Scaling:
    """Signals times the inverse square root of the mean noise covariance of the trials.

    Parameters, returns and errors are those of :func:`fit_zscore`; see :mod:`ubp.data.whitening`.
    """
    covariance = sum(noise_covariance(block, np.full(len(block), 1 / n_trials)) for block in blocks)
    return partial(whiten, whitener(np.asarray(covariance)))


def fit_nothing(blocks: Blocks, n_trials: int) -> Scaling:
    """Signals as they are; reads nothing."""
    return lambda block: block


SCALINGS: dict[str, Callable[[Blocks, int], Scaling]] = {
    "off": fit_nothing,
    "zscore": fit_zscore,
    "whitening": fit_whitening,
}
