"""Which trials, channels and samples of a recording to read."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.stream import Region
from ubp.data.tables import SPLITS
from ubp.errors import InputError


@dataclass(frozen=True, eq=False)
class Selection:
    """What a `Recording.load` is going to read.

    Parameters
    ----------
    rows : int array, increasing
        Rows of signals.npy.
    group : int array, as long as `rows`
        Which row of the result each is averaged into.
    first : int array, one per row of the result
        A row of trials.csv that names its image and concept.
    region : Region
        Channels and samples.
    """

    rows: np.ndarray
    group: np.ndarray
    first: np.ndarray
    region: Region

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the result: (n_trials, n_channels, n_times)."""
        return len(self.first), len(self.region.channels), self.region.n_times


def choose_trials(
    folder: Path, trials: pd.DataFrame, split: str, average: bool, repetitions: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`rows`, `group` and `first` of a `Selection`.

    Raises
    ------
    InputError
        When the split is unknown or empty, or an image has too few repetitions.
    """
    if split not in SPLITS:
        raise InputError(f"The split {split!r} is unknown; expected 'train' or 'test'.")
    rows = np.flatnonzero((trials["split"] == split).to_numpy())
    if not len(rows):
        raise InputError(f"{folder / 'trials.csv'} has no {split} trial; expected some rows with split {split}.")
    image, names = pd.factorize(trials["image"].iloc[rows])
    if repetitions is not None:
        counts = np.bincount(image)
        fewest = int(counts.min())
        if not 1 <= repetitions <= fewest:
            raise InputError(
                f"{repetitions} repetitions per image were asked for and {names[int(counts.argmin())]!r} has {fewest} "
                f"in {folder / 'trials.csv'}; choose a number from 1 to {fewest}."
            )
        kept = choose_repetitions(image, repetitions, seed)
        rows, image = rows[kept], image[kept]
    group = image if average else np.arange(len(rows))
    return rows, group, rows[np.unique(group, return_index=True)[1]]


def choose_repetitions(image: np.ndarray, repetitions: int, seed: int) -> np.ndarray:
    """Increasing indices of that many randomly chosen entries of every value of `image` (0 to n - 1, none missing)."""
    counts = np.bincount(image)
    order = np.lexsort((np.random.default_rng(seed).random(len(image)), image))
    rank = np.arange(len(image)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < repetitions])


def channel_indices(folder: Path, known: Sequence[str], names: Sequence[str] | None) -> np.ndarray:
    """Places of `names` among the `known` channels; None means all.

    Raises
    ------
    InputError
        When a name is unknown (the nearest are listed) or comes twice.
    """
    if names is None:
        return np.arange(len(known))
    if isinstance(names, str) or not len(names):
        raise InputError(f"The channels {names!r} are not a list of names; expected one or more of channels.csv.")
    place = {name: i for i, name in enumerate(known)}
    for name in names:
        if name not in place:
            near = difflib.get_close_matches(str(name), known, cutoff=0.4) or known[:5]
            raise InputError(
                f"{folder / 'channels.csv'} has no channel {name!r}; the nearest names are {', '.join(near)}."
            )
    if len(set(names)) < len(names):
        raise InputError(f"A channel is asked for twice in {', '.join(names)}; expected every name once.")
    return np.array([place[name] for name in names])


def window_samples(
    folder: Path, n_times: int, sfreq: float | None, tmin: float | None, window: tuple[float, float] | None
) -> tuple[int, int]:
    """First sample, and one past the last, with times in the closed `window` of seconds; None means all.

    Sample i has the time tmin + i / sfreq.

    Raises
    ------
    InputError
        When the signals have no times, or the window is empty or reaches more than one sample outside the recording.
    """
    if window is None:
        return 0, n_times
    asked = f"The window {window[0]:g} to {window[1]:g} s"
    if sfreq is None or tmin is None:
        raise InputError(
            f"{asked} was asked for and {folder.parent / 'dataset.json'} has no sfreq and tmin; "
            "leave the window out, or fill them in."
        )
    # a thousandth of a sample forgives the rounding of decimal times
    low, high = (window[0] - tmin) * sfreq - 1e-3, (window[1] - tmin) * sfreq + 1e-3
    has = f"{folder.name} has samples every {1 / sfreq:g} s from {tmin:g} to {tmin + (n_times - 1) / sfreq:g} s"
    # people write 0 to 1 s for 250 samples at 250 Hz, which ends one sample after the last
    if not (low >= -1 - 2e-3 and high <= n_times + 2e-3):
        raise InputError(f"{asked} reaches outside the recording; {has}.")
    start, stop = max(0, int(np.ceil(low))), min(n_times, int(np.floor(high)) + 1)
    if stop <= start:
        raise InputError(f"{asked} holds no sample; {has}, and a window runs from its start to its end.")
    return start, stop
