"""A plane through the space where images and brain signals meet."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Where vectors lie on a plane.

    Parameters
    ----------
    images : array of shape (n_images, 2), float64
    brain : array of shape (n_queries, 2), float64
    explained : float
        Share of the images' variance that the plane keeps.
    """

    images: np.ndarray
    brain: np.ndarray
    explained: float


def embedding_map(images: np.ndarray, brain: np.ndarray) -> EmbeddingMap:
    r"""Project both kinds of vectors on the first two principal components of the images.

    .. math:: x_i = (v_i - \bar v) W, \quad y_q = (b_q - \bar b) W

    Each kind has its own centre, because the two lie in narrow cones apart from each other (the gap between
    modalities), which would be all that a common centre shows. The means make this a picture and no part of a ranking.

    Parameters
    ----------
    images : array of shape (n_images, embed_dim)
        Unit vectors, at least two.
    brain : array of shape (n_queries, embed_dim)
        Unit vectors.
    """
    from sklearn.decomposition import PCA

    n_components = min(2, len(images) - 1, images.shape[1])
    pca = PCA(n_components, svd_solver="randomized", random_state=0, iterated_power=7)
    images = np.asarray(images, np.float64)
    placed = np.zeros((len(images), 2))
    with np.errstate(invalid="ignore"):  # of images that are all alike
        pca.fit(images)
    placed[:, :n_components] = pca.transform(images)
    moved = np.zeros((len(brain), 2))
    centred = np.asarray(brain, np.float64) - np.mean(brain, axis=0, dtype=np.float64)
    moved[:, :n_components] = centred @ pca.components_.T
    explained = float(np.nan_to_num(pca.explained_variance_ratio_.sum()))
    return EmbeddingMap(placed, moved, explained)
