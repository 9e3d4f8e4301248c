"""What a contrastive loss wants of a batch: which images each signal is to be assigned to."""

import torch
from torch import Tensor
from torch.nn import functional


def same_image(image: Tensor) -> Tensor:
    r"""Equal shares of all pairs of the batch that show the same image.

    .. math:: T_{ij} = [y_i = y_j] \,/\, \sum_k [y_i = y_k]

    Parameters
    ----------
    image : Tensor of shape (n,), int64
        Image of each pair, `y`.

    Returns
    -------
    Tensor of shape (n, n), float32, whose rows sum to 1
        The identity when all images are different.

    Notes
    -----
    Khosla et al. 2020, "Supervised contrastive learning", NeurIPS, with the logarithm outside, on both axes.
    """
    same = (image[:, None] == image).float()
    return same / same.sum(dim=1, keepdim=True)


def similar_images(vision: Tensor, temperature: float) -> Tensor:
    r"""Shares by the similarity of images.

    .. math:: S_{ij} = e^{v_i v_j^T / t} \,/\, \sum_k e^{v_i v_k^T / t}

    Parameters
    ----------
    vision : Tensor of shape (n, dim) or (n, n_vectors, dim)
        Image vectors; of a bank, the mean over its levels counts. No gradient flows to them.
    temperature : float
        `t`.

    Returns
    -------
    Tensor of shape (n, n), float32, whose rows sum to 1
    """
    vectors = vision.detach().float()
    vectors = functional.normalize(vectors.mean(1) if vectors.ndim == 3 else vectors, dim=-1)
    return (vectors @ vectors.T / temperature).softmax(dim=1)


def batch_target(
    image: Tensor, vision: Tensor, positives: str = "pair", weight: float = 0.0, temperature: float = 0.05
) -> Tensor | None:
    """The target of a batch: ``(1 - weight) T + weight S``.

    Parameters
    ----------
    image : Tensor of shape (n,), int64
    vision : Tensor of shape (n, dim) or (n, n_vectors, dim)
    positives : {"pair", "image"}
        `T` is the identity, or :func:`ubp.targets.same_image`.
    weight : float
        Share of `S`, :func:`ubp.targets.similar_images`.
    temperature : float

    Returns
    -------
    Tensor of shape (n, n), float32, or None for the identity
    """
    if positives == "pair" and not weight:
        return None
    hard = same_image(image) if positives == "image" else torch.eye(len(image), device=image.device)
    return torch.lerp(hard, similar_images(vision, temperature), weight) if weight else hard
