"""Multivariate noise normalisation: signals times the inverse square root of their noise covariance.

Source: Guggenmos, Sterzer, Cichy (2018), NeuroImage 173:434-447; shrinkage of Ledoit and Wolf (2004).
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ubp.data.stream import one_torch_thread
from ubp.errors import InputError

PIECE = 16  # trials whose intermediate results stay in the processor's cache
N_THREADS = min(16, os.cpu_count() or 1)


def ledoit_wolf(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Shrunk covariance over the samples of each trial, all trials at once.

    .. math:: C = (1 - \rho) S + \rho \mu I, \quad \mu = \mathrm{tr} S / p, \quad
        \rho = \min(1, b / d), \quad d = \|S\|^2 - p \mu^2, \quad
        b = \frac1n \left( \frac1n \sum_t \|x_t\|^4 - \|S\|^2 \right)

    with p channels, n samples and centred :math:`x_t`; norms are sums of squares.

    Parameters
    ----------
    signals : float64 array of shape (n_trials, n_channels, n_times)

    Returns
    -------
    covariance : float64 array of shape (n_trials, n_channels, n_channels)
    shrinkage : float64 array of shape (n_trials,)
    """
    covariance, shrinkage = _ledoit_wolf(_centred(torch.from_numpy(signals)))
    return covariance.numpy(), shrinkage.numpy()


def noise_covariance(signals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sum over trials of Ledoit-Wolf covariances, each shrunk as a correlation matrix and scaled back.

    Channels are standardised before the shrinkage, so it does not depend on their units and leaves variances alone;
    this is what the published preprocessing of THINGS-EEG2 does.

    Parameters
    ----------
    signals : float64 array of shape (n_trials, n_channels, n_times)
    weights : float64 array of shape (n_trials,)

    Returns
    -------
    float64 array of shape (n_channels, n_channels)
    """
    x, weight = torch.from_numpy(signals), torch.from_numpy(weights)
    pieces = _pieces(lambda some: _noise_covariance(x[some], weight[some]), len(x))
    return torch.stack(list(pieces)).sum(dim=0).numpy()


def _noise_covariance(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    n_times = x.shape[2]
    centred = _centred(x)
    variance = centred.square().mean(dim=2)
    # a constant channel has no scale; what rounding leaves of its variance is not one (the bound is scikit-learn's)
    rounding = n_times * torch.finfo(x.dtype).eps
    constant = variance <= rounding * variance + (rounding * x.mean(dim=2)) ** 2
    scale = torch.where(constant, 1.0, variance.sqrt())
    correlation, _ = _ledoit_wolf(centred / scale[:, :, None])
    scale = scale * weight.sqrt()[:, None]
    return (correlation * scale[:, :, None] * scale[:, None, :]).sum(dim=0)


def whitener(covariance: np.ndarray) -> np.ndarray:
    """Inverse square root, symmetric, of a covariance matrix.

    Raises
    ------
    InputError
        When the matrix is singular.
    """
    values, vectors = np.linalg.eigh(covariance)
    if not values[0] > len(values) * np.finfo(np.float64).eps * values[-1]:
        raise InputError(
            f"The noise covariance of {len(covariance)} channels is singular (eigenvalues from {values[0]:.2g} to "
            f"{values[-1]:.2g}); leave out constant or doubled channels, or switch whitening off."
        )
    return (vectors / np.sqrt(values)) @ vectors.T


def whiten(matrix: np.ndarray, signals: np.ndarray) -> np.ndarray:
    """`matrix` times every trial of signals (n_trials, n_channels, n_times)."""
    left, x = torch.from_numpy(matrix), torch.from_numpy(signals)
    out = torch.empty_like(x)
    _pieces(lambda some: torch.matmul(left, x[some], out=out[some]), len(x))
    return out.numpy()


def _pieces(work: Callable[[slice], torch.Tensor], count: int) -> list[torch.Tensor]:
    """Results for pieces of `count` trials, in order; threads of our own share the cores better than torch's."""
    pieces = [slice(first, first + PIECE) for first in range(0, count, PIECE)]
    with one_torch_thread(), ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(work, pieces))


def _centred(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(dim=2, keepdim=True)


def _ledoit_wolf(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    _, p, n = x.shape
    empirical = x @ x.transpose(1, 2) / n
    square = empirical.square().sum(dim=(1, 2))
    mu = torch.einsum("nii->n", empirical) / p
    distance = square - p * mu**2
    fourth = x.square().sum(dim=1).square().sum(dim=1) / n
    spread = torch.minimum((fourth - square) / n, distance)
    shrinkage = torch.where(spread == 0, 0.0, spread / distance) if p > 1 else torch.zeros_like(mu)
    covariance = empirical * (1 - shrinkage)[:, None, None]
    covariance.diagonal(dim1=1, dim2=2).add_((shrinkage * mu)[:, None])
    return covariance, shrinkage
