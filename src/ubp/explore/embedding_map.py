"""A plane through the space where images and brain signals meet."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    r"""The two first principal components of images, and where vectors lie on their plane.

    .. math:: x_i = (v_i - \bar v) W, \quad y_q = (b_q - \bar b) W

    Images and brain signals each have their own centre, because the two lie in narrow cones apart from each other (the
    gap between modalities), which would be all that a common centre shows. The means make this a picture and no part
    of a ranking.

    Parameters
    ----------
    images : array of shape (n_images, 2), float64
        The :math:`x`.
    components : array of shape (embed_dim, 2), float64
        The :math:`W`; zero for a component that there is not.
    explained : float
        Share of the images' variance that the plane keeps.
    """

    images: np.ndarray
    components: np.ndarray
    explained: float

    def place(self, brain: np.ndarray) -> np.ndarray:
        """The :math:`y` of unit vectors of shape (n_queries, embed_dim); (n_queries, 2), float64."""
        brain = np.asarray(brain, np.float64)
        return (brain - brain.mean(axis=0)) @ self.components


def embedding_map(images: np.ndarray) -> EmbeddingMap:
    """Find the plane of images.

    Parameters
    ----------
    images : array of shape (n_images, embed_dim)
        Unit vectors, at least two.
    """
    from sklearn.decomposition import PCA

    n_components = min(2, len(images) - 1, images.shape[1])
    pca = PCA(n_components, svd_solver="randomized", random_state=0, iterated_power=7)
    images = np.asarray(images, np.float64)
    with np.errstate(invalid="ignore"):  # of images that are all alike
        pca.fit(images)
    components = np.zeros((images.shape[1], 2))
    components[:, :n_components] = pca.components_.T
    explained = float(np.nan_to_num(pca.explained_variance_ratio_.sum()))
    return EmbeddingMap((images - images.mean(axis=0)) @ components, components, explained)
