"""What is learned on the image side: a mixture over the levels of a bank, and an adapter of the frozen features."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ubp.config import unknown
from ubp.principal import Features

BOTTLENECK = 4
DROPOUT = 0.3
PACE = 30.0


class ImageSide(nn.Module):
    r"""Map frozen image vectors to where signals are embedded.

    .. math:: u = \frac{m}{\|m\|}, \quad m = \sum_l w_l \odot v_l, \qquad y = \frac{A(c)}{\|A(c)\|}, \quad
        c = \frac{P(u - \bar{u})}{\|P(u - \bar{u})\|}

    with the weights `w` of a mixture over the levels `l` of a bank, the principal components `P` of the training images
    (or `c = u` without), and an adapter `A`.

    Parameters
    ----------
    vision_dim : int
        Length of the image vectors.
    n_levels : int
        Levels of the bank; 1 when an image has one vector.
    mixture : str
        A key of `MIXTURES`; without a bank it is left out.
    adapter : str
        A key of `ADAPTERS`.
    embed_dim : int, optional
        Length of the result, by default that of what the adapter sees; without an adapter it is that.
    n_components : int, optional
        The adapter sees so many principal components of the training images, after their mean was subtracted; by
        default the vectors as they are. :meth:`fit` finds them.

    Raises
    ------
    InputError
        When a name is unknown.
    """

    def __init__(
        self,
        vision_dim: int,
        n_levels: int = 1,
        mixture: str = "mean",
        adapter: str = "none",
        embed_dim: int | None = None,
        n_components: int | None = None,
    ) -> None:
        super().__init__()
        for what, name, table in (("mixture", mixture, MIXTURES), ("adapter", adapter, ADAPTERS)):
            if name not in table:
                raise unknown(what, name, table)
        seen = n_components or vision_dim
        self.embed_dim = seen if adapter == "none" else embed_dim or seen
        self.mixture = MIXTURES[mixture](n_levels, vision_dim) if n_levels > 1 else None
        self.components = Features(vision_dim, n_components) if n_components else None
        self.adapter = ADAPTERS[adapter](seen, self.embed_dim)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map unit vectors (n, vision_dim), or (n, n_levels, vision_dim) of a bank, to unit vectors (n, embed_dim)."""
        mixed = self.mixed(vectors)
        if self.components is not None:
            mixed = functional.normalize(self.components(mixed), dim=-1)
        return functional.normalize(self.adapter(mixed), dim=-1)

    def mixed(self, vectors: Tensor) -> Tensor:
        """One unit vector (n, vision_dim) an image."""
        if self.mixture is not None:
            vectors = (self.mixture(vectors) * vectors).sum(1)
        return functional.normalize(vectors, dim=-1)

    @torch.no_grad()
    def fit(self, vectors: Tensor) -> None:
        """Find the principal components of training images, (n, vision_dim) or (n, n_levels, vision_dim)."""
        if self.components is not None:
            self.components.fit(self.mixed(vectors.float()))

    def weights(self, vectors: Tensor) -> Tensor:
        """Weights of the levels, shape (n_levels,): the mean over images (n, n_levels, vision_dim) and dimensions."""
        if self.mixture is None:
            return torch.ones(1)
        weights: Tensor = self.mixture(vectors)
        return weights.mean((0, 2))


class MeanMixture(nn.Module):
    """Equal weights, ``1 / n_levels``."""

    def __init__(self, n_levels: int, vision_dim: int) -> None:
        super().__init__()
        self.n_levels = n_levels

    def forward(self, vectors: Tensor) -> Tensor:
        """Weights for vectors (n, n_levels, vision_dim), of shape (1, n_levels, 1)."""
        return vectors.new_full((1, self.n_levels, 1), 1 / self.n_levels)


class LearnedMixture(nn.Module):
    r"""One learned weight for each level, :math:`w = \text{softmax}(30\,\theta)`; equal at first.

    AdamW moves every parameter by about the learning rate in a step: without the factor, a few hundred steps at the
    rate that suits the brain encoder would leave the weights equal.
    """

    def __init__(self, n_levels: int, vision_dim: int) -> None:
        super().__init__()
        self.slow_logits = nn.Parameter(torch.zeros(n_levels, 1))

    def forward(self, vectors: Tensor) -> Tensor:
        """Weights for vectors (n, n_levels, vision_dim), of shape (1, n_levels, 1 or vision_dim)."""
        return (PACE * self.slow_logits).softmax(0)[None]


class PerDimensionMixture(LearnedMixture):
    """Learned weights of the levels for every dimension, in the same way; equal at first."""

    def __init__(self, n_levels: int, vision_dim: int) -> None:
        super().__init__(n_levels, vision_dim)
        self.slow_logits = nn.Parameter(torch.zeros(n_levels, vision_dim))


class PerImageMixture(nn.Module):
    """Weights of the levels for every image: a softmax of a linear map of its mean vector; equal at first."""

    def __init__(self, n_levels: int, vision_dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(vision_dim, n_levels)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """Weights for vectors (n, n_levels, vision_dim), of shape (n, n_levels, 1)."""
        return (self.gate(vectors.mean(1)) * math.sqrt(vectors.shape[-1])).softmax(1)[:, :, None]


class ResidualAdapter(nn.Module):
    """``y = x + V Dropout(GELU(W x + b)) + c``, with a quarter of the dimensions between; the identity at first."""

    def __init__(self, vision_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.branch = _bottleneck(vision_dim, embed_dim)
        self.skip = nn.Identity() if embed_dim == vision_dim else nn.Linear(vision_dim, embed_dim, bias=False)
        nn.init.zeros_(self.branch[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.branch[-1].bias)  # type: ignore[arg-type]

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (n, vision_dim) to (n, embed_dim)."""
        mapped: Tensor = self.skip(vectors) + self.branch(vectors)
        return mapped


def _linear(vision_dim: int, embed_dim: int) -> nn.Linear:
    """A linear map; unless it shortens, the identity at first, with zeros behind."""
    made = nn.Linear(vision_dim, embed_dim)
    if vision_dim <= embed_dim:
        nn.init.eye_(made.weight)
        nn.init.zeros_(made.bias)
    return made


def _bottleneck(vision_dim: int, embed_dim: int) -> nn.Sequential:
    width = max(1, embed_dim // BOTTLENECK)
    return nn.Sequential(nn.Linear(vision_dim, width), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(width, embed_dim))


MIXTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "mean": MeanMixture,
    "learned": LearnedMixture,
    "per-dimension": PerDimensionMixture,
    "per-image": PerImageMixture,
}
"""Weights of a bank's levels, by name."""

ADAPTERS: dict[str, Callable[[int, int], nn.Module]] = {
    "none": lambda vision_dim, embed_dim: nn.Identity(),
    "linear": _linear,
    "bottleneck": _bottleneck,
    "residual": ResidualAdapter,
}
"""Maps of the frozen features, by name."""
