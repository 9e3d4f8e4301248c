"""The contrastive loss between brain and image embeddings."""

import math

import torch.nn.functional as F
from torch import Tensor

INITIAL_TEMPERATURE = math.log(1 / 0.07)


def similarity_matrix(brain: Tensor, vision: Tensor, temperature: Tensor) -> Tensor:
    r"""Similarity of every brain embedding with every image embedding (equation 6).

    .. math:: M = h_b h_v^T \, softplus(\tau)

    The brain embedding is not normalised, by design of the method; give image embeddings of unit length.

    Parameters
    ----------
    brain : Tensor of shape (n, embed_dim)
    vision : Tensor of shape (m, embed_dim)
    temperature : Tensor of shape ()
        The learned `tau`; starts at ``ln(1 / 0.07)``, a scale of 2.73.

    Returns
    -------
    Tensor of shape (n, m)
    """
    return (brain * F.softplus(temperature).to(brain.dtype)) @ vision.T


def contrastive_loss(similarity: Tensor) -> Tensor:
    r"""Symmetric cross-entropy of a square similarity matrix whose diagonal holds the matched pairs (equation 1).

    .. math:: L = \frac{1}{2n} \sum_i \Bigl[ \log \sum_j e^{M_{ij}} + \log \sum_j e^{M_{ji}} - 2 M_{ii} \Bigr]

    Parameters
    ----------
    similarity : Tensor of shape (n, n)
        Any floating type; computed in float32.

    Returns
    -------
    Tensor of shape (), float32
    """
    similarity = similarity.float()
    rows, columns = similarity.log_softmax(dim=1), similarity.log_softmax(dim=0)
    return -0.5 * (rows.diagonal() + columns.diagonal()).mean()
