"""Retrieval and its scores for scikit-learn: what an estimator that compares signals with images can do with them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted

from ubp.array_vectors import ArrayVectors, images_seen
from ubp.errors import InputError
from ubp.evaluate import by_image
from ubp.measures import Measure, measure
from ubp.metrics import ranks


class RetrievalMixin:
    """Ranks and scores, for an estimator with `similarity`, and the parameters `image_features` and `metric`."""

    image_features: np.ndarray | None
    metric: str

    def similarity(self, X: Any, gallery: Any) -> np.ndarray:
        """Similarity of every trial with every image, of shape (n_trials, n_gallery)."""
        raise NotImplementedError

    def retrieve(self, X: Any, gallery: Any = None, top: int = 1) -> np.ndarray:
        """The most similar images of a gallery.

        Parameters
        ----------
        X : array as in :meth:`fit`
        gallery : array of shape (n_gallery, embed_dim), optional
            By default `image_features`, at the middle level.
        top : int

        Returns
        -------
        int array of shape (n_trials, top)
            Rows of the gallery, best first; of equals the first.

        Raises
        ------
        InputError
            When there is no gallery, or `top` is larger than it.
        """
        if gallery is None:
            table = self._table()
            if table is None:
                raise InputError("There is no gallery to retrieve from; give one, or image_features.")
            gallery = table.base
        similarity = self.similarity(X, gallery)
        if not 1 <= top <= similarity.shape[1]:
            raise InputError(f"top is {top}; expected 1 to {similarity.shape[1]}, the images of the gallery.")
        return np.argsort(-similarity, axis=1, kind="stable")[:, :top]

    def rank(self, X: Any, y: Any) -> np.ndarray:
        """Rank of the seen image among the distinct images of y, for every trial; ties share their mean rank.

        Returns
        -------
        float64 array of shape (n_trials,)
        """
        return self._ranks(X, y)[0]

    def _ranks(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Ranks, and the image of each trial as a row of the gallery."""
        check_is_fitted(self)
        rows, vectors = self._seen(y, X)
        distinct, target = np.unique(rows, return_inverse=True)
        return ranks(self.similarity(X, vectors.base[distinct]), target), target

    def score(self, X: Any, y: Any, metric: str | None = None) -> float:
        """Mean of `metric` over the distinct images of y, which are the gallery; every image counts the same.

        Parameters
        ----------
        X, y : arrays as in :meth:`fit`
        metric : str, optional
            Instead of the parameter of that name.

        Raises
        ------
        ValueError
            When y holds fewer than 2 images, or fewer than the k of top-k.
        """
        chosen = self._metric(metric)
        rank, target = self._ranks(X, y)
        return float(by_image(chosen.score(rank, int(target.max()) + 1), target.tolist()).mean())

    def chance(self, y: Any, metric: str | None = None) -> float:
        """Score of a random ranking of the distinct images of y."""
        return self._metric(metric).by_chance(len(np.unique(self._seen(y)[0])))

    def _metric(self, name: str | None) -> Measure:
        return measure(name or self.metric)

    def _table(self) -> ArrayVectors | None:
        return None if self.image_features is None else ArrayVectors.of(self.image_features, "image_features")

    def _seen(self, y: Any, X: Any = None) -> tuple[np.ndarray, ArrayVectors]:
        """Row of the image of each trial, and the vectors that rows are of."""
        if y is None:
            raise InputError("BrainImageRetriever requires y to be passed, but the target y is None.")
        y = check_array(y, ensure_2d=False, allow_nd=True, dtype="numeric", input_name="y", estimator=self)
        if X is not None:
            check_consistent_length(X, y)
        return images_seen(y, self._table())


@dataclass(frozen=True)
class RetrievalScorer:
    """A scorer of one metric, for tools that take several: ``scoring={"top5": RetrievalScorer("top5")}``.

    Parameters
    ----------
    metric : str
        See :func:`ubp.measures.measure`.
    """

    metric: str = "top1"

    def __post_init__(self) -> None:
        measure(self.metric)

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """The score of a fitted :class:`BrainImageRetriever`."""
        return float(estimator.score(X, y, metric=self.metric))
