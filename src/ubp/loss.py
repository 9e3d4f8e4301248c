"""The contrastive loss between brain and image embeddings, and the similarities it is taken of."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
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


def contrastive_loss(similarity: Tensor, target: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    r"""Symmetric cross-entropy of a square similarity matrix whose diagonal holds the matched pairs (equation 1).

    .. math:: L = \frac{1}{2n} \sum_i \Bigl[ \log \sum_j e^{M_{ij}} + \log \sum_j e^{M_{ji}} - 2 M_{ii} \Bigr]

    and with a target :math:`T`

    .. math:: L = -\frac{1}{2n} \sum_{ij} T_{ij} \Bigl[ \log \frac{e^{M_{ij}}}{\sum_k e^{M_{ik}}}
        + \log \frac{e^{M'_{ji}}}{\sum_k e^{M'_{ki}}} \Bigr]

    Parameters
    ----------
    similarity : Tensor of shape (n, n)
        `M`, any floating type; computed in float32.
    target : Tensor of shape (n, n), optional
        Shares of the images that a signal (row) is to be assigned to; rows sum to 1. Transposed, those of the signals
        that an image is to be assigned to. By default the identity. See :func:`ubp.targets.batch_target`.
    columns : Tensor of shape (n, n), optional
        :math:`M'`, what images are assigned to signals by; by default `similarity`.

    Returns
    -------
    Tensor of shape (), float32
    """
    similarity = similarity.float()
    other = similarity if columns is None else columns.float()
    by_signal, by_image = similarity.log_softmax(dim=1), other.log_softmax(dim=0)
    if target is None:
        return -0.5 * (by_signal.diagonal() + by_image.diagonal()).mean()
    return -0.5 * ((target * by_signal).sum() + (target.T * by_image).sum()) / len(similarity)


def sigmoid_loss(similarity: Tensor, target: Tensor | None, bias: Tensor) -> Tensor:
    r"""Every pair of a signal and an image on its own: is it a match or not?

    .. math:: L = -\frac{1}{n} \sum_{ij} \log \sigma\bigl(z_{ij} (M_{ij} + b)\bigr)

    with :math:`z_{ij} = 1` for matches and -1 for the others.

    Parameters
    ----------
    similarity : Tensor of shape (n, n)
        `M`, any floating type; computed in float32.
    target : Tensor of shape (n, n), optional
        Above 0 for matches; by default the identity.
    bias : Tensor of shape ()
        The learned `b`.

    Returns
    -------
    Tensor of shape (), float32

    Notes
    -----
    Zhai et al. 2023, "Sigmoid loss for language image pre-training", ICCV, with its starting values: a scale of 10 and
    a bias of -10.
    """
    matches = torch.eye(len(similarity), device=similarity.device) if target is None else target
    sign = torch.where(matches > 0, 1.0, -1.0)
    return -F.logsigmoid(sign * (similarity.float() + bias)).sum() / len(similarity)


def _contrastive(similarity: Tensor, target: Tensor | None, temperature: Tensor, second: Tensor | None) -> Tensor:
    return contrastive_loss(similarity, target)


def _sigmoid(similarity: Tensor, target: Tensor | None, temperature: Tensor, second: Tensor | None) -> Tensor:
    assert second is not None
    return sigmoid_loss(similarity, target, second)


def _two_temperatures(similarity: Tensor, target: Tensor | None, temperature: Tensor, second: Tensor | None) -> Tensor:
    assert second is not None
    return contrastive_loss(similarity, target, similarity.float() * (second - temperature).exp())


@dataclass(frozen=True)
class Loss:
    """A loss of brain and image embeddings; called, it is the similarity.

    Parameters
    ----------
    similarity : callable
        Of brain, vision and temperature: a cosine times a factor that depends on the brain embedding alone, as
        :meth:`ubp.model.Model.sharpness` needs it.
    objective : callable
        What is minimised, of the similarity, the target (None for the identity), the temperature and the second
        learned number.
    temperature : float
        Starting value of the temperature.
    second : float, optional
        Starting value of a second learned number, which ranking does not need: the bias of ``siglip``, or the
        temperature by which ``two-temperatures`` assigns signals to an image.
    """

    similarity: Callable[[Tensor, Tensor, Tensor], Tensor]
    objective: Callable[[Tensor, Tensor | None, Tensor, Tensor | None], Tensor] = _contrastive
    temperature: float = INITIAL_TEMPERATURE
    second: float | None = None

    def __call__(self, brain: Tensor, vision: Tensor, temperature: Tensor) -> Tensor:
        """Similarities (n, m)."""
        return self.similarity(brain, vision, temperature)


LOSSES: dict[str, Loss] = {
    "ubp": Loss(similarity_matrix),
    "clip": Loss(cosine_matrix),
    "atm-s": Loss(linear_matrix),
    "siglip": Loss(cosine_matrix, _sigmoid, math.log(10), -10.0),
    "two-temperatures": Loss(cosine_matrix, _two_temperatures, INITIAL_TEMPERATURE, INITIAL_TEMPERATURE),
}
"""Losses by name."""
