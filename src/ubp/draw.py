"""The signals of a training batch: repetitions drawn and averaged, and changed at random."""

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ubp.augment import Context, augmented, check_augmentations
from ubp.config import TrainOptions
from ubp.errors import InputError
from ubp.pairs import Pairs


class SignalDraws:
    r"""Makes the signals of a batch of training pairs.

    With repetitions, the signal of a pair is

    .. math:: x = \frac1k \sum_{i \in K} x_i, \quad k \sim U\{1, \dots, m\}

    with a random subset `K`, of size `k`, of the `m` trials that showed its image to one subject.

    Parameters
    ----------
    pairs : Pairs
    options : TrainOptions

    Raises
    ------
    InputError
        When an augmentation needs time that the signals do not have, or the pairs have no repetitions to draw.
    """

    def __init__(self, pairs: Pairs, options: TrainOptions) -> None:
        check_augmentations(options.augment, pairs.signals.shape[2], pairs.sfreq)
        if options.draws_repetitions and pairs.repetitions is None:
            raise InputError("Repetitions are to be drawn and the pairs have none; give the rows of each pair's.")
        self.pairs, self.options = pairs, options

    @property
    def off(self) -> bool:
        """Whether signals stay as they are."""
        return not self.options.augment and self.options.repetitions == "mean"

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Signals (n, n_channels, n_times) of the pairs in these rows, in the type of the training signals."""
        pairs, options = self.pairs, self.options
        if options.repetitions == "subset":
            signals = subset_mean(pairs.signals, self._rows(batch), generator)
        else:
            signals = pairs.signals[batch]
        if not options.augment:
            return signals
        other = self._other(batch, generator) if options.mixes_repetitions else None
        return augmented(signals, options.augment, generator, Context(pairs.sfreq, other))

    def _rows(self, batch: Tensor) -> Tensor:
        assert self.pairs.repetitions is not None
        return self.pairs.repetitions[batch]

    def _other(self, batch: Tensor, generator: Generator) -> Tensor:
        """One repetition of each pair's image; not the pair's own where each trial is a pair and there are others."""
        rows = self._rows(batch)
        own = None if self.options.repetitions == "subset" else batch
        return self.pairs.signals[one_of(rows, generator, own)]


def subset_mean(signals: Tensor, rows: Tensor, generator: Generator) -> Tensor:
    """Mean of a random subset of the rows of each pair: every size is as likely, and every subset of a size.

    Nothing is copied but the result: the rows are read and summed in one go.

    Parameters
    ----------
    signals : Tensor of shape (n_trials, n_channels, n_times), floating point
    rows : Tensor of shape (n, most), int64
        Rows of `signals`, and -1 past the end.
    generator : torch.Generator

    Returns
    -------
    Tensor of shape (n, n_channels, n_times), of the type of `signals`
    """
    count = (rows >= 0).sum(dim=1)
    # floor(u m) of u in [0, 1) is m where u rounds to 1
    size = 1 + (torch.rand(len(rows), generator=generator, device=rows.device) * count).long().clamp(max=count - 1)
    place = _shuffled(rows, generator).argsort(dim=1)
    chosen = torch.arange(rows.shape[1], device=rows.device) < size[:, None]
    flat = signals.reshape(len(signals), -1)
    weight = (1 / size.to(torch.float32))[:, None].expand_as(chosen)[chosen].to(signals.dtype)
    mean = functional.embedding_bag(
        rows.gather(1, place)[chosen], flat, size.cumsum(0) - size, mode="sum", per_sample_weights=weight
    )
    return mean.view(len(rows), *signals.shape[1:])


def one_of(rows: Tensor, generator: Generator, own: Tensor | None = None) -> Tensor:
    """A random one of the rows (n, most) of each pair, and not its own (n,) where there are others; shape (n,)."""
    order = _shuffled(rows, generator)
    if own is not None:
        order = torch.where(rows == own[:, None], order + 1, order)
    return rows.gather(1, order.argmin(dim=1, keepdim=True))[:, 0]


def _shuffled(rows: Tensor, generator: Generator) -> Tensor:
    """A random number in [0, 1) for each row, and 3 past the end."""
    drawn = torch.rand(rows.shape, generator=generator, device=rows.device)
    return torch.where(rows >= 0, drawn, 3.0)
