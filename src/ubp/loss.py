"""The contrastive loss between brain and image embeddings, and the similarities it is taken of."""

import math
from collections.abc import Callable

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


def cosine_matrix(brain: Tensor, vision: Tensor, temperature: Tensor) -> Tensor:
    r"""Scaled cosine of every brain embedding with every image embedding, as in CLIP and NICE.

    .. math:: M = e^{\tau} \, \frac{h_b}{\|h_b\|} \frac{h_v^T}{\|h_v\|}

    Parameters
    ----------
    brain : Tensor of shape (n, embed_dim)
    vision : Tensor of shape (m, embed_dim)
    temperature : Tensor of shape ()
        The learned `tau`; from ``ln(1 / 0.07)`` the scale starts at 14.3.

    Returns
    -------
    Tensor of shape (n, m)

    Notes
    -----
    Song et al. 2024, "Decoding natural images from EEG for object recognition", ICLR. Their released program does not
    hand `tau` to the optimiser, so there the scale stays 14.3; here it is learned.
    """
    brain, vision = F.normalize(brain, dim=-1), F.normalize(vision, dim=-1)
    return (brain * temperature.exp().to(brain.dtype)) @ vision.T


def linear_matrix(brain: Tensor, vision: Tensor, temperature: Tensor) -> Tensor:
    r"""Similarity whose scale is the learned number itself, as in the retrieval experiment of ATM-S.

    .. math:: M = \tau \, h_b h_v^T

    Parameters
    ----------
    brain : Tensor of shape (n, embed_dim)
        Not normalised.
    vision : Tensor of shape (m, embed_dim)
    temperature : Tensor of shape ()
        The learned `tau`; starts at ``ln(1 / 0.07)``, a scale of 2.66.

    Returns
    -------
    Tensor of shape (n, m)

    Notes
    -----
    Li et al. 2024, "Visual decoding and reconstruction via EEG embeddings with guided diffusion", NeurIPS. The released
    retrieval program adds the same loss against text embeddings of the concepts' names with a weight of 0.01 (0.99 for
    the images). That part is left out here:
    a study need not have concept names in words. The program for retrieval has no mean squared error.
    """
    return (brain * temperature.to(brain.dtype)) @ vision.T


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


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ubp": similarity_matrix,
    "clip": cosine_matrix,
    "atm-s": linear_matrix,
}
"""Similarities of (brain, vision, temperature), by name; each loss is the contrastive loss of its similarity."""
