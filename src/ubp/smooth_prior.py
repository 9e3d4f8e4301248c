"""The position of a pair as a smooth function of how well it fits, instead of three steps."""

from collections.abc import Callable

import torch
from torch import Tensor

from ubp.position_prior import PositionPrior
from ubp.robust import robust_z

__all__ = ["SQUASHES", "PooledPrior", "SmoothPrior", "pooled"]


def student(z: Tensor) -> Tensor:
    r"""Twice the distribution function of Student's t with 3 degrees of freedom, less 1.

    .. math:: 2 F_3(z) - 1 = \frac{2}{\pi} \Big(\frac{z / \sqrt{3}}{1 + z^2 / 3} + \arctan \frac{z}{\sqrt{3}}\Big)
    """
    scaled = z / 3**0.5
    return (scaled / (1 + scaled * scaled) + scaled.atan()) * (2 / torch.pi)


def pooled(values: Tensor, group: Tensor, weight: float) -> Tensor:
    r"""Values shrunk to the mean of their group.

    .. math:: s_i' = (1 - w) s_i + w \bar{s}_{g(i)}

    Parameters
    ----------
    values : Tensor of shape (n,)
        Not-a-number where there is none; it stays so and counts in no mean.
    group : Tensor of shape (n,), int64
        From 0, below n.
    weight : float
        `w`, in [0, 1].

    Examples
    --------
    >>> pooled(torch.tensor([1.0, 3.0, 8.0]), torch.tensor([0, 0, 1]), 0.5)
    tensor([1.5000, 2.5000, 8.0000])
    """
    known = ~values.isnan()
    sums, counts = torch.zeros(2, len(values), dtype=values.dtype, device=values.device)
    sums.index_add_(0, group, torch.where(known, values, 0))
    counts.index_add_(0, group, known.to(values.dtype))
    return torch.lerp(values, (sums / counts.clamp(min=1))[group], weight)


class SmoothPrior(PositionPrior):
    r"""More blur the worse a pair fits, smoothly.

    .. math:: \delta = -f(z / r)

    with the robust z-score `z` of the pair's smoothed similarity and a squash `f` of `SQUASHES`. Parameters and state
    are those of :class:`ubp.position_prior.PositionPrior`, and

    Parameters
    ----------
    reach : float
        `r`: robust deviations that the squash takes as 1.
    squash : str
        A key of `SQUASHES`.
    over : {"batch", "all"}
        Whose median and spread: those of the batch that the pair was last in, which were taken at one moment of the
        training, or those of all pairs seen so far.
    pooling : float
        In [0, 1]: how far a pair's z-score is shrunk to the mean of its concept; needs `group`.
    """

    state = (*PositionPrior.state, "z")

    def __init__(
        self,
        n_pairs: int,
        n_levels: int = 3,
        confidence: float = 0.95,
        weight: float = 0.3,
        ramp: int = 5,
        group: Tensor | None = None,
        device: torch.device | str = "cpu",
        reach: float = 2.0,
        squash: str = "student",
        over: str = "batch",
        pooling: float = 0.0,
    ) -> None:
        super().__init__(n_pairs, n_levels, confidence, weight, ramp, group, device)
        if not 0 < reach < float("inf"):
            raise ValueError(f"reach is {reach}; expected a number above 0.")
        if squash not in SQUASHES:
            raise ValueError(f"squash is {squash!r}; expected one of {', '.join(SQUASHES)}.")
        if over not in ("batch", "all"):
            raise ValueError(f"over is {over!r}; expected 'batch' or 'all'.")
        if not 0 <= pooling <= 1:
            raise ValueError(f"pooling is {pooling}; expected a number from 0 to 1.")
        if pooling and group is None:
            raise ValueError(f"pooling is {pooling} without groups; give the concept of each pair as group.")
        self.reach, self.squash, self.over, self.pooling = reach, squash, over, pooling
        self.z = torch.zeros(n_pairs, device=device)

    def learn(self, pairs: Tensor, brain: Tensor | None, images: Tensor | None) -> None:
        """Place the batch's pairs among each other."""
        self.z[pairs] = robust_z(self.similarity[pairs])

    def deviation(self) -> Tensor:
        """See the base class."""
        seen = self.passes > 0
        z = self.z
        if self.over == "all":
            z = robust_z(torch.where(seen, self.similarity, torch.nan))
        if self.pooling and self.group is not None:
            z = pooled(torch.where(seen, z, torch.nan), self.group, self.pooling)
        return -SQUASHES[self.squash](z / self.reach)


class PooledPrior(SmoothPrior):
    """:class:`SmoothPrior` with half of every z-score that of the pair's concept."""

    def __init__(self, n_pairs: int, n_levels: int = 3, *, pooling: float = 0.5, **options: object) -> None:
        super().__init__(n_pairs, n_levels, pooling=pooling, **options)  # type: ignore[arg-type]


SQUASHES: dict[str, Callable[[Tensor], Tensor]] = {"student": student, "tanh": torch.tanh}
"""Odd functions of a z-score that rise from -1 to 1; `student` has the heavier tails."""
