"""Blur of each pair as a position between the levels of a ladder, whatever rule finds it.

A rule is used in any training loop as :class:`ubp.prior.BlurPrior` is::

    prior = SmoothPrior(n_pairs=len(signals), n_levels=len(ladder))
    for pairs in batches:                                             # indices of the training pairs
        vision = between(ladder, prior.positions(pairs), image_of[pairs])
        ...
        prior.update(pairs, similarity)                               # the matched similarities of the batch

One with ``needs_levels`` is told of the embeddings as well: ``prior.update(pairs, similarity, brain, images)``, with
`images` the vectors of the pairs' images at every level. The module depends on torch alone.
"""

from abc import ABC, abstractmethod
from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn import functional

from ubp.prior import Level, smooth
from ubp.robust import median, spread


def between(ladder: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
    r"""Image vectors at positions between the levels of a ladder.

    .. math:: v = \frac{(1 - t) v_l + t v_{l + 1}}{\|(1 - t) v_l + t v_{l + 1}\|}, \quad l = \lfloor p \rfloor,
        \quad t = p - l

    Parameters
    ----------
    ladder : Tensor of shape (n_levels, n_images, ..., embed_dim)
        Unit vectors by increasing blur.
    positions : Tensor of shape (n,)
        Floating positions in [0, n_levels - 1]; integers are levels, whose vectors are given as they are.
    rows : Tensor of shape (n,), int64
        The image of each.

    Returns
    -------
    Tensor of shape (n, ..., embed_dim)
    """
    if not positions.is_floating_point():
        return ladder[positions, rows]
    low = positions.long().clamp(0, max(0, len(ladder) - 2))
    share = (positions - low).to(ladder.dtype).reshape(-1, *(1 for _ in ladder.shape[2:]))
    high = (low + 1).clamp(max=len(ladder) - 1)
    return functional.normalize(torch.lerp(ladder[low, rows], ladder[high, rows], share), dim=-1)


class PositionPrior(ABC):
    r"""What every rule keeps of the training pairs, and how far its effect has grown.

    .. math:: p = b + a\,b\,\delta, \quad b = \frac{L - 1}{2}, \quad a = \min(1, n / \mathrm{ramp})

    with the position `p` on a ladder of `L` levels, the deviation :math:`\delta \in [-1, 1]` that the rule finds (more
    blur above 0), and the passes `n` that the pair has been seen in.

    Parameters
    ----------
    n_pairs : int
        Number of training pairs.
    n_levels : int
        Levels of the ladder, an odd number of at least 3; the middle one is the base.
    confidence : float
        Of the interval.
    weight : float
        Weight of the newest value in the moving averages; the first value is taken whole.
    ramp : int
        Passes until the rule has its full effect; 1 for the second pass, as the three-step rule.
    group : Tensor of shape (n_pairs,), int64, optional
        The concept of each pair, for rules that pool.
    device : torch.device or str

    Attributes
    ----------
    similarity : Tensor of shape (n_pairs,), float32
        Moving average of the matched similarity; 0 before the first pass.
    passes : Tensor of shape (n_pairs,), int64
        How often each pair was seen.
    interval : Tensor of shape (2,), float32
        :math:`\mathrm{median} \pm z\,1.4826\,\mathrm{MAD}` of the last batch's averages, for the eye.

    Raises
    ------
    ValueError
        When an argument is outside its range.
    """

    needs_levels = False
    state: tuple[str, ...] = ("similarity", "passes", "interval")

    def __init__(
        self,
        n_pairs: int,
        n_levels: int = 3,
        confidence: float = 0.95,
        weight: float = 0.3,
        ramp: int = 5,
        group: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if n_pairs < 1:
            raise ValueError(f"n_pairs is {n_pairs}; expected at least 1.")
        if n_levels < 3 or n_levels % 2 == 0:
            raise ValueError(
                f"n_levels is {n_levels}; expected an odd number of at least 3, with a level in the middle."
            )
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1.")
        if not 0 < weight <= 1:
            raise ValueError(f"weight is {weight}; expected a number above 0 and at most 1.")
        if ramp < 1:
            raise ValueError(f"ramp is {ramp}; expected at least 1 pass.")
        if group is not None and group.shape != (n_pairs,):
            raise ValueError(f"The groups have shape {tuple(group.shape)}; expected ({n_pairs},), one per pair.")
        self.n_levels, self.confidence, self.weight, self.ramp = n_levels, confidence, weight, ramp
        self.group = None if group is None else group.to(device)
        self.similarity = torch.zeros(n_pairs, device=device)
        self.passes = torch.zeros(n_pairs, dtype=torch.int64, device=device)
        self.interval = torch.tensor([-torch.inf, torch.inf], device=device)

    @abstractmethod
    def deviation(self) -> Tensor:
        """Where the rule sees each pair between the least blur (-1), the base (0) and the most (1): (n_pairs,)."""

    @abstractmethod
    def learn(self, pairs: Tensor, brain: Tensor | None, images: Tensor | None) -> None:
        """Take in what the rule needs beside the similarity, which is averaged already."""

    @property
    def base(self) -> float:
        """Position of the middle level."""
        return (self.n_levels - 1) / 2

    @property
    def position(self) -> Tensor:
        """Position of every pair now, in [0, n_levels - 1]; float32."""
        amount = (self.passes / self.ramp).clamp(max=1)
        offset = torch.where(self.passes > 0, amount * self.deviation(), 0)
        return self.base * (1 + offset).clamp(0, 2)

    @property
    def level(self) -> Tensor:
        """The nearest level of every pair, by its side of the base: values of :class:`ubp.prior.Level`."""
        return Level.BASE + (self.position - self.base).round().sign().long()

    def positions(self, pairs: Tensor) -> Tensor:
        """Positions to use now for the pairs of a batch."""
        return self.position[pairs]

    @torch.no_grad()
    def update(
        self, pairs: Tensor, similarity: Tensor, brain: Tensor | None = None, images: Tensor | None = None
    ) -> None:
        """Take in a batch.

        Parameters
        ----------
        pairs : Tensor of shape (n,), int64
            Indices of the training pairs, each at most once.
        similarity : Tensor of shape (n,)
            Diagonal of the batch's similarity matrix.
        brain : Tensor of shape (n, embed_dim), optional
            Embeddings of the signals; wanted if ``needs_levels``.
        images : Tensor of shape (n_levels, n, embed_dim), optional
            Vectors of the pairs' images at every level; wanted if ``needs_levels``.

        Raises
        ------
        ValueError
            When what is wanted is missing or has another number of levels.
        """
        if self.needs_levels and (brain is None or images is None or len(images) != self.n_levels):
            raise ValueError(
                f"{type(self).__name__} needs the embeddings of the signals and of the images at all {self.n_levels} "
                "levels; give brain and images."
            )
        self.similarity[pairs] = self.averaged(self.similarity, pairs, similarity)
        self.learn(pairs, brain, images)
        self.passes[pairs] += 1
        values = self.similarity[pairs]
        if len(values) > 1:
            reach = NormalDist().inv_cdf(0.5 + self.confidence / 2) * spread(values)
            self.interval = torch.stack([median(values) - reach, median(values) + reach])

    def averaged(self, average: Tensor, pairs: Tensor, new: Tensor) -> Tensor:
        """The moving averages of a batch with its new values, of shape (n,) or (n, m)."""
        new = new.detach().to(average.dtype)
        first = (self.passes[pairs] == 0).reshape(-1, *(1 for _ in new.shape[1:]))
        return torch.where(first, new, smooth(average[pairs], new, self.weight))

    def counts(self) -> dict[str, int]:
        """How many pairs are nearest to the base, and to a level with less or more blur, by name."""
        counts = torch.bincount(self.level, minlength=len(Level)).tolist()
        return {level.name.lower(): counts[level] for level in Level}

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all state, for a checkpoint, and the positions and levels it gives, for the reader."""
        return {name: getattr(self, name).clone() for name in (*self.state, "position", "level")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            When the state is of another number of pairs or levels.
        """
        for name in self.state:
            mine = getattr(self, name)
            if mine.numel() and state[name].shape != mine.shape:
                raise ValueError(
                    f"The state's {name} has shape {tuple(state[name].shape)}; expected {tuple(mine.shape)}."
                )
            setattr(self, name, state[name].to(device=mine.device, dtype=mine.dtype).clone())
