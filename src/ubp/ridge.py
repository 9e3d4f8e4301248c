"""The baseline every result stands beside: ridge regression from signals to image embeddings."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.linalg import eigh
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from ubp.errors import InputError
from ubp.metrics import cosine_similarity, mean_percentile_rank, ranks

ALPHAS = tuple(np.logspace(-1, 6, 15))


class RidgeBaseline:
    r"""Ridge regression with its penalty chosen by cross-validation over concepts of the training trials.

    .. math:: W = (X^T X + \alpha I)^{-1} X^T (Y - \bar Y)

    with `X` the signals, each feature scaled to mean 0 and deviation 1 by figures of the training trials. A query
    is the predicted embedding minus the training mean, compared by cosine with each image's embedding minus that mean.

    Parameters
    ----------
    alphas : sequence of float
        Penalties to choose from, by mean percentile rank; a single one is taken as it is.
    n_folds : int
    """

    def __init__(self, alphas: Sequence[float] = ALPHAS, n_folds: int = 5) -> None:
        self.alphas, self.n_folds = tuple(alphas), n_folds

    def fit(self, signals: np.ndarray, vision: np.ndarray, concepts: Sequence[str]) -> "RidgeBaseline":
        """Choose the penalty and fit.

        Parameters
        ----------
        signals : array of shape (n_trials, n_channels, n_times)
        vision : array of shape (n_trials, embed_dim)
            Embedding of the image of each trial.
        concepts : sequence of str
            Concept of each trial; a concept is never in two folds.
        """
        flat = signals.reshape(len(signals), -1).astype(np.float64)
        self.alpha_ = self.alphas[0] if len(self.alphas) == 1 else self._choose(flat, vision, concepts)
        self._scale(flat, vision)
        self.ridge_ = Ridge(alpha=self.alpha_, fit_intercept=False).fit(self.scaled(flat), self.centre(vision))
        return self

    def _choose(self, flat: np.ndarray, vision: np.ndarray, concepts: Sequence[str]) -> float:
        scores = np.zeros(len(self.alphas))
        folds = min(self.n_folds, len(set(concepts)))
        if folds < 2:
            raise InputError("Ridge regression needs at least 2 training concepts to choose its penalty; leave it out.")
        for fit_rows, held_rows in GroupKFold(folds, shuffle=True, random_state=0).split(flat, groups=concepts):
            if len(held_rows) < 2:
                continue
            self._scale(flat[fit_rows], vision[fit_rows])
            centred, target = self.centre(vision), np.arange(len(held_rows))
            path = ridge_path(self.scaled(flat[fit_rows]), centred[fit_rows], self.scaled(flat[held_rows]), self.alphas)
            for index, predicted in enumerate(path):
                rank = ranks(cosine_similarity(predicted, centred[held_rows]), target)
                scores[index] += mean_percentile_rank(rank, len(held_rows))
        return self.alphas[int(np.argmax(scores))]

    def _scale(self, flat: np.ndarray, vision: np.ndarray) -> None:
        self.mean_, deviation = flat.mean(axis=0), flat.std(axis=0)
        self.deviation_ = np.where(deviation > 0, deviation, 1)
        self.vision_mean_ = vision.mean(axis=0)

    def scaled(self, flat: np.ndarray) -> np.ndarray:
        """Features of shape (n, n_features) in units of the training trials' mean and deviation."""
        return (flat - self.mean_) / self.deviation_

    def centre(self, vision: np.ndarray) -> np.ndarray:
        """Image embeddings minus the training mean, to compare predictions with."""
        return (vision - self.vision_mean_).astype(np.float32)

    def predict(self, signals: np.ndarray) -> np.ndarray:
        """Predicted embeddings minus the training mean, shape (n_trials, embed_dim), float32."""
        predicted = self.ridge_.predict(self.scaled(signals.reshape(len(signals), -1)))
        return predicted.reshape(len(signals), -1).astype(np.float32)


def ridge_path(
    signals: np.ndarray, vision: np.ndarray, held_out: np.ndarray, alphas: Sequence[float]
) -> Iterator[np.ndarray]:
    r"""Predictions for every penalty from one eigendecomposition.

    .. math:: \hat Y_\alpha = Z Q (\Lambda + \alpha I)^{-1} Q^T X^T Y, \quad X^T X = Q \Lambda Q^T

    or, with fewer trials than features, the same from the eigenvectors of `X X^T`.

    Parameters
    ----------
    signals : array of shape (n_trials, n_features)
        `X`, centred.
    vision : array of shape (n_trials, embed_dim)
        `Y`, centred.
    held_out : array of shape (n_held_out, n_features)
        `Z`.
    alphas : sequence of float

    Yields
    ------
    array of shape (n_held_out, embed_dim), float32
        One for each penalty.
    """
    if signals.shape[0] >= signals.shape[1]:
        values, vectors = eigh(signals.T @ signals)
        left, right = held_out @ vectors, vectors.T @ (signals.T @ vision)
    else:
        values, vectors = eigh(signals @ signals.T)
        left, right = held_out @ (signals.T @ vectors), vectors.T @ vision
    for alpha in alphas:
        yield ((left / (values + alpha)) @ right).astype(np.float32)
