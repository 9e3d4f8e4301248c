"""The baseline every result stands beside: ridge regression from signals to image embeddings."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

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
        Penalties to choose from, by mean percentile rank.
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
        scores = np.zeros(len(self.alphas))
        folds = min(self.n_folds, len(set(concepts)))
        for fit_rows, held_rows in GroupKFold(folds, shuffle=True, random_state=0).split(flat, groups=concepts):
            for index, alpha in enumerate(self.alphas):
                scores[index] += self._score(alpha, flat, vision, fit_rows, held_rows)
        self.alpha_ = self.alphas[int(np.argmax(scores))]
        self._fit(self.alpha_, flat, vision)
        return self

    def _fit(self, alpha: float, flat: np.ndarray, vision: np.ndarray) -> None:
        self.mean_, deviation = flat.mean(axis=0), flat.std(axis=0)
        self.deviation_ = np.where(deviation > 0, deviation, 1)
        self.vision_mean_ = vision.mean(axis=0)
        scaled = (flat - self.mean_) / self.deviation_
        self.ridge_ = Ridge(alpha=alpha).fit(scaled, vision - self.vision_mean_)

    def _score(
        self, alpha: float, flat: np.ndarray, vision: np.ndarray, fit_rows: np.ndarray, held_rows: np.ndarray
    ) -> float:
        self._fit(alpha, flat[fit_rows], vision[fit_rows])
        similarity = cosine_similarity(self._predict(flat[held_rows]), self.centre(vision[held_rows]))
        return mean_percentile_rank(ranks(similarity, np.arange(len(held_rows))), len(held_rows))

    def _predict(self, flat: np.ndarray) -> np.ndarray:
        return self.ridge_.predict((flat - self.mean_) / self.deviation_).astype(np.float32)

    def centre(self, vision: np.ndarray) -> np.ndarray:
        """Image embeddings minus the training mean, to compare predictions with."""
        return (vision - self.vision_mean_).astype(np.float32)

    def predict(self, signals: np.ndarray) -> np.ndarray:
        """Predicted embeddings minus the training mean, shape (n_trials, embed_dim), float32."""
        return self._predict(signals.reshape(len(signals), -1).astype(np.float64))
