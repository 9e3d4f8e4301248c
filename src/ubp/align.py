"""Signals of different subjects made alike, from unlabelled signals of each: no image takes part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ubp.config import unknown
from ubp.errors import InputError, UbpError

SHRINKAGE = 0.01
MOST_TRIALS = 500
FEWEST_TRIALS = 20
BLOCK = 256  # trials whose aligned signals are in memory twice
MOST_STEPS = 100
TOLERANCE = 1e-7


@dataclass(frozen=True)
class Alignment:
    """What is done to all signals of a subject: ``y = A (x - m)``.

    Parameters
    ----------
    centre : Tensor of shape (n_channels, 1), float32
        `m`.
    matrix : Tensor of shape (n_channels, n_channels), float32
        `A`.
    """

    centre: Tensor
    matrix: Tensor

    def __call__(self, signals: Tensor) -> Tensor:
        """Aligned signals (n, n_channels, n_times), new ones."""
        return self.into(torch.empty_like(signals), signals)

    def into(self, out: Tensor, signals: Tensor) -> Tensor:
        """Write aligned signals to `out`, which may be the signals themselves."""
        for target, part in zip(out.split(BLOCK), signals.split(BLOCK), strict=True):
            target.copy_(self.matrix @ (part - self.centre))
        return out


def fit_alignment(name: str, signals: np.ndarray) -> Alignment:
    r"""The alignment of a subject.

    With signals :math:`x_i`, their mean of each channel `m`, and the covariance of each trial

    .. math:: C_i = (1 - \epsilon) S_i + \epsilon \frac{\mathrm{tr} \bar S}{p} I, \quad
        S_i = \frac{1}{T} (x_i - m)(x_i - m)^T

    ``scale`` has :math:`A = \mathrm{diag}(\bar S)^{-1/2}`, ``euclidean`` :math:`A = R^{-1/2}` with the mean `R` of all
    :math:`C_i`, and ``riemannian`` the same with their Riemannian mean, see `riemannian_mean`.

    Parameters
    ----------
    name : str
        A key of `ALIGNMENTS`.
    signals : array of shape (n, n_channels, n_times)
        Trials of one subject, of which nothing else is known.

    Raises
    ------
    InputError
        When the name is unknown, all signals are constant, or ``riemannian`` gets trials of one sample.

    Notes
    -----
    He & Wu 2020, "Transfer learning for brain-computer interfaces: a Euclidean space data alignment approach", IEEE
    TBME 67(2), where :math:`m = 0` and :math:`\epsilon = 0`; Zanini et al. 2018, "Transfer learning: a Riemannian
    geometry framework with applications to brain-computer interfaces", IEEE TBME 65(5). Here a hundredth of the mean
    variance is added, so that channels that depend on each other, as after an average reference, can be aligned.
    """
    if name not in ALIGNMENTS or name == "none":
        raise unknown("alignment", name, [known for known in ALIGNMENTS if known != "none"])
    check_alignment(name, signals.shape[2])
    x = torch.from_numpy(np.asarray(signals, np.float64))
    centre = x.mean(dim=(0, 2))[:, None]
    matrix = ALIGNMENTS[name]((x - centre).numpy())
    return Alignment(centre.float(), torch.from_numpy(matrix).float())


def check_alignment(name: str, n_times: int) -> None:
    """Refuse an alignment that trials of so many samples cannot have.

    Raises
    ------
    InputError
        When ``riemannian`` meets one sample per trial.
    """
    if name == "riemannian" and n_times < 2:
        raise InputError(
            "The alignment riemannian needs the covariance of every trial and these have one sample; choose euclidean."
        )


def scale(centred: np.ndarray) -> np.ndarray:
    """`A` of ``scale`` from centred signals (n, n_channels, n_times), float64; a constant channel keeps its scale."""
    variance = np.square(centred).mean(axis=(0, 2))
    if not variance.any():
        raise _constant()
    return np.diag(1 / np.sqrt(np.where(variance > 0, variance, 1)))


def euclidean(centred: np.ndarray) -> np.ndarray:
    """`A` of ``euclidean`` from centred signals (n, n_channels, n_times), float64."""
    n, n_channels, n_times = centred.shape
    flat = np.moveaxis(centred, 1, 0).reshape(n_channels, -1)
    covariance = flat @ flat.T / (n * n_times)
    return spectral(_shrunk(covariance, covariance), _inverse_root)


def riemannian(centred: np.ndarray) -> np.ndarray:
    """`A` of ``riemannian`` from centred signals (n, n_channels, n_times), float64."""
    covariances = centred @ centred.transpose(0, 2, 1) / centred.shape[2]
    return spectral(riemannian_mean(_shrunk(covariances, covariances.mean(axis=0))), _inverse_root)


def riemannian_mean(matrices: np.ndarray) -> np.ndarray:
    r"""The matrix whose squared distances to the given ones have the smallest sum.

    .. math:: \delta(A, B) = \|\log(A^{-1/2} B A^{-1/2})\|_F, \qquad
        M \leftarrow M^{1/2} \exp\Bigl(\frac{h}{n} \sum_i \log(M^{-1/2} C_i M^{-1/2})\Bigr) M^{1/2}

    beginning with :math:`\exp(\frac1n \sum_i \log C_i)` and :math:`h = 1`, halved where the step grew.

    Parameters
    ----------
    matrices : array of shape (n, p, p), float64
        Symmetric, positive definite.

    Returns
    -------
    array of shape (p, p), float64

    Raises
    ------
    UbpError
        When the steps do not become small.
    """
    mean = spectral(spectral(matrices, np.log).mean(axis=0), np.exp)
    last, rate = np.inf, 1.0
    for _ in range(MOST_STEPS):
        root, inverse = spectral(mean, np.sqrt), spectral(mean, _inverse_root)
        step = spectral(inverse @ matrices @ inverse, np.log).mean(axis=0)
        size = float(np.linalg.norm(step)) / len(step) ** 0.5
        if size < TOLERANCE:
            return mean
        rate = rate / 2 if size > last else rate
        mean = root @ spectral(rate * step, np.exp) @ root
        last = size
    raise UbpError(
        f"The Riemannian mean of {len(matrices)} covariances was not found in {MOST_STEPS} steps (the last is of size "
        f"{last:.1g}); choose the alignment euclidean."
    )


def spectral(matrices: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A function of symmetric matrices (..., p, p): of their eigenvalues, with the same eigenvectors."""
    values, vectors = np.linalg.eigh((matrices + matrices.swapaxes(-1, -2)) / 2)
    return np.asarray((vectors * function(values)[..., None, :]) @ vectors.swapaxes(-1, -2))


def align_rows(signals: Tensor, subjects: np.ndarray, alignments: Mapping[str, Alignment]) -> None:
    """Align signals (n, n_channels, n_times) in place, each row as those of its subject.

    `subjects` is an array of n names.
    """
    edges = np.flatnonzero(subjects[1:] != subjects[:-1]) + 1
    for start, stop in zip([0, *edges], [*edges, len(subjects)], strict=True):
        if stop > start:
            part = signals[int(start) : int(stop)]
            alignments[str(subjects[start])].into(part, part)


def _inverse_root(values: np.ndarray) -> Any:
    return 1 / np.sqrt(values)


def _shrunk(covariances: np.ndarray, mean: np.ndarray) -> np.ndarray:
    variance = np.trace(mean) / len(mean)
    if variance == 0:
        raise _constant()
    return np.asarray((1 - SHRINKAGE) * covariances + SHRINKAGE * variance * np.eye(len(mean)))


def _constant() -> InputError:
    return InputError("The signals to align by are constant in every channel; expected signals that change.")


ALIGNMENTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda centred: np.eye(centred.shape[1]),
    "scale": scale,
    "euclidean": euclidean,
    "riemannian": riemannian,
}
"""The matrix of an alignment, from centred signals, by name."""
