"""What a decoder loses without a part of its signals, or reaches with that part alone: numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ubp.config import unknown
from ubp.data.trials import Trials
from ubp.errors import InputError
from ubp.evaluate import by_image
from ubp.measures import Measure
from ubp.metrics import cosine_similarity, ranks
from ubp.model import Model
from ubp.randomness import derive_seed
from ubp.statistics import bootstrap_interval, grand_mean

Window = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """Some of the channels, or some of the samples.

    Parameters
    ----------
    name : str
    channels : tuple of str
        Empty for all.
    window : (float, float), optional
        First and last second, both included; all by default.
    """

    name: str
    channels: tuple[str, ...] = ()
    window: Window | None = None


def sliding_windows(n_times: int, sfreq: float, tmin: float, width: float, step: float) -> list[Part]:
    """Windows of equal length, from the first sample on.

    Parameters
    ----------
    n_times : int
    sfreq : float
        Hz.
    tmin : float
        Time of the first sample (s).
    width, step : float
        Seconds, rounded to whole samples.

    Returns
    -------
    list of Part
        Window `i` holds the samples from ``i step`` on that are `width` long; an incomplete one at the end is left out.

    Raises
    ------
    InputError
        When width or step is less than a sample, or there are fewer than two windows.

    Examples
    --------
    >>> [part.window for part in sliding_windows(10, 100.0, 0.0, 0.04, 0.03)]
    [(0.0, 0.03), (0.03, 0.06), (0.06, 0.09)]
    """
    last = tmin + (n_times - 1) / sfreq
    if not (np.isfinite([width, step]).all() and min(width, step) * sfreq >= 0.5):
        raise InputError(
            f"Time windows of {width:g} s in steps of {step:g} s were asked for; expected at least one sample, "
            f"{1 / sfreq:g} s, for both."
        )
    length, stride = max(1, round(width * sfreq)), max(1, round(step * sfreq))
    starts = range(0, n_times - length + 1, stride)
    if len(starts) < 2:
        raise InputError(
            f"Time windows of {width:g} s in steps of {step:g} s do not fit twice into the samples from {tmin:g} to "
            f"{last:g} s; choose shorter windows or steps."
        )
    windows = [(round(tmin + start / sfreq, 6), round(tmin + (start + length - 1) / sfreq, 6)) for start in starts]
    return [Part(f"{low:g} to {high:g} s", window=(low, high)) for low, high in windows]


def regions(channels: Sequence[str]) -> list[Part]:
    """Channels by the letters of their 10-10 names: O of O1, Oz and O2.

    Raises
    ------
    InputError
        When a name is of another kind, or all share one region.
    """
    found: dict[str, list[str]] = {}
    for name in channels:
        match = re.fullmatch(r"([A-Za-z]{1,3}?)(z|Z|\d{1,2})", name)
        if not match:
            raise InputError(
                f"The channel {name!r} has no region, because its name is not one of the 10-10 system such as PO7; "
                "leave the regions out."
            )
        found.setdefault(match[1], []).append(name)
    if len(found) < 2:
        raise InputError(f"All channels are of the region {next(iter(found))}; expected two or more, or no regions.")
    return [Part(name, tuple(members)) for name, members in found.items()]


def places(part: Part, trials: Trials) -> tuple[np.ndarray, slice]:
    """Rows of the part's channels and the slice of its samples in the signals of some trials."""
    rows = [trials.channels.index(name) for name in part.channels or trials.channels]
    if part.window is None:
        return np.array(rows), slice(None)
    if trials.sfreq is None or trials.tmin is None:
        raise InputError("The signals have no times, so there is no window of time to change.")
    first, last = (round((time - trials.tmin) * trials.sfreq) for time in part.window)
    return np.array(rows), slice(first, last + 1)


def permuted(trials: Trials, part: Part, seed: int) -> np.ndarray:
    """Signals whose part comes from another trial each, by one random order for all its channels and samples.

    Source: Breiman, "Random forests", Machine Learning 45, 2001 (permutation importance).
    """
    channels, samples = places(part, trials)
    order = np.random.default_rng(seed).permutation(len(trials))
    signals = trials.signals.copy()
    signals[:, channels, samples] = trials.signals[order][:, channels, samples]
    return signals


def occluded(trials: Trials, part: Part, mean: np.ndarray) -> np.ndarray:
    """Signals whose part is the mean of its channel over the training trials, of shape (n_channels, 1)."""
    channels, samples = places(part, trials)
    signals = trials.signals.copy()
    signals[:, channels, samples] = mean[channels]
    return signals


@dataclass(frozen=True)
class Queries:
    """Held-out trials of one subject, one an image, and the vectors of their images.

    Parameters
    ----------
    trials : Trials
    vision : array of shape (n_trials, embed_dim)
        Of each trial's image.
    """

    trials: Trials
    vision: np.ndarray

    def score(self, model: Model, measure: Measure, signals: np.ndarray | None = None) -> pd.Series:
        """Score of every image, by its name, among all of them; of other signals of these trials if given."""
        brain = model.embed(self.trials.signals if signals is None else signals)
        similarity = cosine_similarity(brain, model.embed_images(self.vision))
        rank = ranks(similarity, np.arange(len(self.trials)))
        return by_image(measure.score(rank, len(self.trials)), self.trials.images)

    def changed(self, model: Model, measure: Measure, part: Part, by: str, repeats: int = 10) -> pd.Series:
        """Score of every image when a part of the signals is changed.

        Parameters
        ----------
        by : {"permute", "occlude"}
        repeats : int
            Permutations that are averaged over.
        """
        if by == OCCLUDE:
            return self.score(model, measure, occluded(self.trials, part, model.scale[0].numpy()))
        seeds = [derive_seed("permute", part.name, repeat) for repeat in range(repeats)]
        scores = [self.score(model, measure, permuted(self.trials, part, seed)) for seed in seeds]
        return pd.Series(np.mean(scores, axis=0), index=scores[0].index)


Scores = Mapping[str, Sequence[pd.Series]]


def summarise(scores: Scores) -> tuple[float, float, float]:
    """Mean over subjects, and its bootstrap interval over images, seeds and subjects.

    Parameters
    ----------
    scores : mapping of str to sequence of Series
        By subject, one a seed, each by image.
    """
    arrays = [np.stack([series.to_numpy(float) for series in seeds]) for seeds in scores.values()]
    names = [tuple(seeds[0].index) for seeds in scores.values()]
    return (grand_mean(arrays), *bootstrap_interval(arrays, names))


def check_way(by: str, known: Mapping[str, "Way"], what: str) -> "Way":
    """A way by name.

    Raises
    ------
    InputError
        When it is not one of those known.
    """
    if by not in known:
        raise unknown(f"way to ablate {what}", by, known)
    return known[by]


@dataclass(frozen=True)
class Way:
    """How a part is judged.

    Parameters
    ----------
    trains : {"alone", "without", ""}
        What a model is trained on for every part; nothing where one model of everything serves all parts.
    loss : bool
        Whether the score is what is lost against the model of everything.
    label : str
        Of the score, for figures; `{metric}` and `{part}` are to be filled in.
    """

    trains: str
    loss: bool
    label: str


ALONE, LEAVE_OUT, PERMUTE, OCCLUDE = "alone", "leave-out", "permute", "occlude"
WAYS = {
    ALONE: Way("alone", False, "{metric} of models trained on one {part} alone"),
    LEAVE_OUT: Way("without", True, "{metric} lost by training without one {part}"),
    PERMUTE: Way("", True, "{metric} lost by permuting one {part} over trials"),
    OCCLUDE: Way("", True, "{metric} lost by setting one {part} to its mean"),
}
WINDOW_WAYS = {name: WAYS[name] for name in (ALONE, PERMUTE, OCCLUDE)}
