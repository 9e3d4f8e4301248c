"""The blur prior: how well each pair fits, and how much blur its image gets next.

The module depends on torch alone and works in any training loop::

    prior = BlurPrior(n_pairs=len(signals))
    for pairs in batches:                                     # indices of the training pairs
        vision = ladder[prior.levels(pairs), image_of[pairs]] # ladder: (3, n_images, d), increasing blur
        ...
        prior.update(pairs, similarity)                       # the matched similarities of the batch

Source: Wu et al., "Bridging the Vision-Brain Gap with an Uncertainty-Aware Blur Prior", CVPR 2025, equations 6 to 10.
"""

from enum import IntEnum
from statistics import NormalDist

import torch
from torch import Tensor


class Level(IntEnum):
    """Position of a pair on a ladder of three levels with increasing blur."""

    LESS = 0
    BASE = 1
    MORE = 2


def smooth(previous: Tensor, current: Tensor, weight: float = 0.3) -> Tensor:
    r"""Moving average of the similarity.

    .. math:: s \leftarrow w S + (1 - w) s

    Parameters
    ----------
    previous, current : Tensor of shape (n,)
        The average so far `s` and the new similarity `S`.
    weight : float
        Weight `w` of the new value, in (0, 1].
    """
    return torch.lerp(previous, current.to(previous.dtype), weight)


def confidence_interval(values: Tensor, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
    r"""Interval that a normal variable with the mean and spread of `values` falls in with the given confidence.

    .. math:: [\mu - z\sigma,\ \mu + z\sigma], \quad z = \Phi^{-1}(1 - \alpha / 2), \quad 1 - \alpha = confidence

    with the standard deviation over `n - 1` (equations 8 and 9). One value has no spread; its interval is open on
    both sides.

    Parameters
    ----------
    values : Tensor of shape (n,)
    confidence : float
        In (0, 1).

    Returns
    -------
    low, high : Tensor of shape ()
    """
    mean = values.mean()
    if len(values) < 2:
        return mean - torch.inf, mean + torch.inf
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * values.std()
    return mean - reach, mean + reach


def assign_levels(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Level of each pair from its similarity: a bad fit gets more blur, a good fit less (equation 10).

    Equation 10 as printed has the two sides swapped; the text of the paper and its released program have them so.

    Parameters
    ----------
    values : Tensor of shape (n,)
    low, high : Tensor of shape ()
        The interval; its ends belong to it.

    Returns
    -------
    Tensor of shape (n,), int64
        Values of :class:`Level`.

    Examples
    --------
    >>> assign_levels(torch.tensor([-3.0, 0.0, 3.0]), torch.tensor(-2.0), torch.tensor(2.0))
    tensor([2, 1, 0])
    """
    return Level.BASE + (values < low).long() - (values > high).long()


class BlurPrior:
    """Keeps the similarity, the interval and the level of every training pair.

    A level found in one epoch is used when the pair is drawn again, that is in the next epoch.
    Nothing is copied from the device to the host except by :meth:`counts` and :meth:`state_dict`.

    Parameters
    ----------
    n_pairs : int
        Number of training pairs.
    confidence : float
        `1 - alpha` of the interval; 0.95 in the paper.
    weight : float
        Weight of the newest similarity in the moving average; 0.3 in the released program.
    compare : {"smoothed", "raw"}
        What is compared with the interval of the smoothed similarities: the smoothed similarity itself (the
        paper's equations) or the raw one (the released program).
    device : torch.device or str
        Where the state lives; give the device of the training loop.

    Attributes
    ----------
    similarity : Tensor of shape (n_pairs,), float32
        Moving average per pair, starting at 1.
    level : Tensor of shape (n_pairs,), int64
        Next level per pair, starting at `Level.BASE`.
    interval : Tensor of shape (2,), float32
        Bounds of the last batch.

    Raises
    ------
    ValueError
        When an argument is outside its range.
    """

    def __init__(
        self,
        n_pairs: int,
        confidence: float = 0.95,
        weight: float = 0.3,
        compare: str = "smoothed",
        device: torch.device | str = "cpu",
    ) -> None:
        if n_pairs < 1:
            raise ValueError(f"n_pairs is {n_pairs}; expected at least 1.")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1.")
        if not 0 < weight <= 1:
            raise ValueError(f"weight is {weight}; expected a number above 0 and at most 1.")
        if compare not in ("smoothed", "raw"):
            raise ValueError(f"compare is {compare!r}; expected 'smoothed' or 'raw'.")
        self.confidence, self.weight, self.compare = confidence, weight, compare
        self.similarity = torch.ones(n_pairs, device=device)
        self.level = torch.full((n_pairs,), int(Level.BASE), dtype=torch.int64, device=device)
        self.interval = torch.tensor([-torch.inf, torch.inf], device=device)

    needs_levels = False

    def levels(self, pairs: Tensor) -> Tensor:
        """Levels to use now for the pairs of a batch: int64, values of :class:`Level`."""
        return self.level[pairs]

    def positions(self, pairs: Tensor) -> Tensor:
        """The same, by the name that all rules of `ubp.priors.PRIORS` have."""
        return self.level[pairs]

    @torch.no_grad()
    def update(self, pairs: Tensor, similarity: Tensor) -> None:
        """Take in a batch's matched similarities and set the levels its pairs use next.

        Parameters
        ----------
        pairs : Tensor of shape (n,), int64
            Indices of the training pairs, each at most once.
        similarity : Tensor of shape (n,)
            Diagonal of the batch's similarity matrix, in any floating type.
        """
        raw = similarity.detach().to(self.similarity.dtype)
        smoothed = smooth(self.similarity[pairs], raw, self.weight)
        low, high = confidence_interval(smoothed, self.confidence)
        self.similarity[pairs] = smoothed
        self.level[pairs] = assign_levels(smoothed if self.compare == "smoothed" else raw, low, high)
        self.interval = torch.stack([low, high])

    def counts(self) -> dict[str, int]:
        """How many pairs are at each level now, by name."""
        counts = torch.bincount(self.level, minlength=len(Level)).tolist()
        return {level.name.lower(): counts[level] for level in Level}

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all state, for a checkpoint."""
        return {name: getattr(self, name).clone() for name in ("similarity", "level", "interval")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            When the state is of another number of pairs.
        """
        for name in ("similarity", "level", "interval"):
            mine = getattr(self, name)
            if state[name].shape != mine.shape:
                raise ValueError(
                    f"The state's {name} has shape {tuple(state[name].shape)}; expected {tuple(mine.shape)}, "
                    "one entry per training pair."
                )
            setattr(self, name, state[name].to(device=mine.device, dtype=mine.dtype).clone())
