"""Trials: signals in memory with what was seen, ready for fitting or evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from ubp.data.selection import choose_repetitions
from ubp.errors import InputError


@dataclass(frozen=True, eq=False)
class Trials:
    """Signals of one split, one row per image or per single trial.

    Parameters
    ----------
    signals : float32 array of shape (n_trials, n_channels, n_times)
        In the unit of the study.
    images, concepts, subjects : tuple of str, each of length n_trials
        Image shown, its concept, and the subject who saw it.
    repetitions : int array of shape (n_trials,)
        How many single trials were averaged into each row.
    channels : tuple of str, of length n_channels
        Channel names.
    sfreq : float or None
        Samples per second, in Hz.
    tmin : float or None
        Time of the first sample after image onset, in seconds.

    Raises
    ------
    InputError
        When the lengths disagree.
    """

    signals: np.ndarray
    images: tuple[str, ...]
    concepts: tuple[str, ...]
    subjects: tuple[str, ...]
    repetitions: np.ndarray
    channels: tuple[str, ...]
    sfreq: float | None = None
    tmin: float | None = None

    def __post_init__(self) -> None:
        if self.signals.ndim != 3:
            raise InputError(f"The signals have shape {self.signals.shape}; expected (n_trials, n_channels, n_times).")
        for name in ("images", "concepts", "subjects", "repetitions"):
            if len(getattr(self, name)) != len(self.signals):
                raise InputError(
                    f"There are {len(getattr(self, name))} {name} for {len(self.signals)} rows of signals."
                )
        if len(self.channels) != self.signals.shape[1]:
            raise InputError(
                f"There are {len(self.channels)} channel names for {self.signals.shape[1]} channels of signals."
            )

    def __len__(self) -> int:
        return len(self.signals)

    def select(self, rows: Any) -> "Trials":
        """Some of the rows.

        Parameters
        ----------
        rows : int array, bool array or slice
            Anything that selects along the first axis of a numpy array.
        """
        numbers = np.arange(len(self))[rows]
        return Trials(
            signals=self.signals[rows],
            images=tuple(self.images[i] for i in numbers),
            concepts=tuple(self.concepts[i] for i in numbers),
            subjects=tuple(self.subjects[i] for i in numbers),
            repetitions=self.repetitions[rows],
            channels=self.channels,
            sfreq=self.sfreq,
            tmin=self.tmin,
        )

    def mean_of_some(self, repetitions: int, seed: int = 0) -> "Trials":
        """One row per image, the mean of that many of its single trials, chosen at random.

        What :meth:`ubp.data.recording.Recording.load` gives with the same `repetitions` and `seed`, bit for bit, from
        single trials in memory.

        Parameters
        ----------
        repetitions : int
            At most the fewest that an image has.
        seed : int
            Of the choice; with one seed, fewer are always among more.

        Raises
        ------
        InputError
            When rows are averages or of several subjects already, or an image has too few.
        """
        if (self.repetitions != 1).any() or len(set(self.subjects)) > 1:
            raise InputError("Repetitions are chosen among single trials of one subject; load them with average=False.")
        image = pd.factorize(np.array(self.images))[0]
        fewest = int(np.bincount(image).min())
        if not 1 <= repetitions <= fewest:
            raise InputError(
                f"{repetitions} repetitions per image were asked for and an image of {self.subjects[0]} has {fewest}; "
                f"choose a number from 1 to {fewest}."
            )
        rows = choose_repetitions(image, repetitions, seed)
        group = image[rows]
        first = rows[np.unique(group, return_index=True)[1]]
        signals = torch.zeros((len(first), *self.signals.shape[1:]))
        total = signals.view(len(first), -1)
        for some in np.array_split(np.arange(len(rows)), -(-len(rows) // 256)):
            chosen = torch.from_numpy(self.signals[rows[some]])
            total.index_add_(0, torch.from_numpy(group[some]), chosen.view(len(some), -1))
        return replace(self.select(first), signals=signals.div_(repetitions).numpy(), repetitions=np.bincount(group))

    def averaged(self) -> "Trials":
        r"""One row per image of each subject, in order of first appearance.

        Rows are weighted by the number of single trials behind them, :math:`\sum_i r_i x_i / \sum_i r_i`, so the
        result is the mean of the single trials.
        """
        keys = list(zip(self.subjects, self.images, strict=True))
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        if len(number) == len(keys):
            return self
        group = np.array([number[key] for key in keys])
        first = np.unique(group, return_index=True)[1]
        total = np.bincount(group, weights=self.repetitions).astype(np.int64)
        weight = (self.repetitions / total[group]).astype(np.float32)
        signals = torch.zeros((len(number), *self.signals.shape[1:]))
        signals.index_add_(0, torch.from_numpy(group), torch.from_numpy(self.signals * weight[:, None, None]))
        return Trials(
            signals=signals.numpy(),
            images=tuple(self.images[i] for i in first),
            concepts=tuple(self.concepts[i] for i in first),
            subjects=tuple(self.subjects[i] for i in first),
            repetitions=total,
            channels=self.channels,
            sfreq=self.sfreq,
            tmin=self.tmin,
        )


def concatenate(parts: Sequence[Trials]) -> Trials:
    """Rows of all `parts`, one after the other.

    Raises
    ------
    InputError
        When there is no part, or channels, number of samples or times differ.
    """
    if not parts:
        raise InputError("There are no trials to concatenate; expected at least one set of trials.")
    first = parts[0]
    for part in parts[1:]:
        for name in ("channels", "sfreq", "tmin"):
            if getattr(part, name) != getattr(first, name):
                raise InputError(
                    f"Trials with different {name} cannot be concatenated; load them with the same channels and window."
                )
        if part.signals.shape[2] != first.signals.shape[2]:
            raise InputError(
                f"Trials of {first.signals.shape[2]} and {part.signals.shape[2]} samples cannot be concatenated; "
                "load them with the same window."
            )
    return Trials(
        signals=np.concatenate([part.signals for part in parts]),
        images=tuple(image for part in parts for image in part.images),
        concepts=tuple(concept for part in parts for concept in part.concepts),
        subjects=tuple(subject for part in parts for subject in part.subjects),
        repetitions=np.concatenate([part.repetitions for part in parts]),
        channels=first.channels,
        sfreq=first.sfreq,
        tmin=first.tmin,
    )
