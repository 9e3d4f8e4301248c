"""Signals brought to what a model was trained on: channels, rate, window and unit; or refused with the fact."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ubp.data.given import GivenSignals
from ubp.data.import_options import SignalOptions
from ubp.data.mne_signals import Times
from ubp.description import Description
from ubp.errors import InputError
from ubp.model import Model
from ubp.signal_unit import check_unit

MOST_NAMED = 8


@dataclass(frozen=True, eq=False)
class Queries:
    """Signals as a model takes them.

    Parameters
    ----------
    signals : array of shape (n, n_channels, n_times), float32
    names, images : tuple of str
        Of each query; an image is empty where nobody said which was seen.
    repetitions : int array of shape (n,)
        Trials averaged in each.
    notes : tuple of str
        What was done to them, in sentences.
    """

    signals: np.ndarray
    names: tuple[str, ...]
    images: tuple[str, ...]
    repetitions: np.ndarray
    notes: tuple[str, ...] = ()


def adapt(given: GivenSignals, model: Model, average: bool = False, multiply: float = 1.0) -> Queries:
    """Bring signals to the channels, rate, window and unit of a model.

    Channels are found by name, whatever the case of its letters. Signals of a higher rate are resampled as
    `mne.Epochs.resample` does it, and then cut to the model's samples; where the two grids of samples differ, the
    nearest sample is the first.

    Parameters
    ----------
    given : GivenSignals
    model : Model
    average : bool
        Average all trials of one image.
    multiply : float
        What the signals are multiplied by first, to change their unit.

    Raises
    ------
    InputError
        When a channel is missing, the rate is lower, the window is not covered, values are not finite or constant, the
        unit is another, or trials are to be averaged of which nobody said what they showed.
    """
    if not 0 < abs(multiply) < math.inf:
        raise InputError(f"The signals are to be multiplied by {multiply:g}; expected a finite number other than 0.")
    about, notes = model.description, []
    picks, renamed = find_channels(given, about)
    if renamed:
        notes.append(f"{renamed} channels have other letters in upper case than the model's.")
    bad = [name for name in about.channels if name.lower() in {bad.lower() for bad in given.bads}]
    if bad:
        notes.append(f"Marked bad and used all the same: {_listed(bad)}.")
    times, first = find_window(given, about, notes)
    group, rows = _groups(given, average)
    signals = torch.zeros(len(rows), len(picks), about.n_times)
    start = 0
    everything = np.arange(len(given.names))
    for block in given.read(everything, picks):
        done = _resampled(block, times, about) if times else block
        with np.errstate(over="ignore"):  # what float32 cannot hold is told below
            part = np.ascontiguousarray(done[:, :, first : first + about.n_times] * multiply, np.float32)
        _check_finite(part, start, given, about)
        where = group[start : start + len(part)]
        signals.index_add_(0, torch.from_numpy(where), torch.from_numpy(part))
        start += len(part)
    repetitions = np.bincount(group, minlength=len(rows))
    signals.div_(torch.from_numpy(repetitions.astype(np.float32))[:, None, None])
    check_unit(signals.numpy(), model, given.where, given.subject)
    names = [given.images[row] if average else given.names[row] for row in rows]
    return Queries(signals.numpy(), tuple(names), tuple(given.images[row] for row in rows), repetitions, tuple(notes))


def find_channels(given: GivenSignals, about: Description) -> tuple[np.ndarray, int]:
    """Places of the model's channels among those given, and how many are written with other letters in upper case.

    Raises
    ------
    InputError
        When one is missing, or two differ in upper case alone and neither is written as the model's.
    """
    wanted = about.channels
    if given.channels is None:
        if given.n_channels != len(wanted):
            raise InputError(
                f"{given.where} has {given.n_channels} channels without names; expected the {len(wanted)} of the model "
                f"in their order ({_listed(wanted)}), or name them."
            )
        return np.arange(len(wanted)), 0
    exact = {name: place for place, name in enumerate(given.channels)}
    folded: dict[str, list[int]] = {}
    for place, name in enumerate(given.channels):
        folded.setdefault(name.strip().casefold(), []).append(place)
    places, missing, renamed = [], [], 0
    for name in wanted:
        alike = folded.get(name.strip().casefold(), [])
        if name in exact:
            places.append(exact[name])
        elif len(alike) == 1:
            places.append(alike[0])
            renamed += 1
        elif alike:
            both = " and ".join(given.channels[place] for place in alike)
            raise InputError(f"{given.where} has the channels {both} for the model's {name}; rename one of them.")
        else:
            missing.append(name)
    if missing:
        raise InputError(
            f"{given.where} lacks {len(missing)} of the model's {len(wanted)} channels ({_listed(missing)}); expected "
            "all of them, so interpolate these, or train a model on the channels that there are."
        )
    return np.array(places), renamed


def find_window(given: GivenSignals, about: Description, notes: list[str]) -> tuple[Times | None, int]:
    """How to resample, where that is needed, and the first sample of the model's window; adds to the notes.

    Raises
    ------
    InputError
        When the rate is lower than the model's, or the signals do not cover its window.
    """
    if about.sfreq is None or given.sfreq is None:
        if given.n_times != about.n_times:
            at = "" if about.sfreq is None else f" at {about.sfreq:g} Hz"
            hint = "" if about.sfreq is None else ", or the rate and first time of these"
            raise InputError(
                f"{given.where} has {given.n_times} samples per trial; expected the {about.n_times} of the "
                f"model{at}{hint}."
            )
        return None, 0
    rate, first = about.sfreq, given.tmin if given.tmin is not None else about.tmin or 0.0
    times, n_times = None, given.n_times
    if given.sfreq < rate * (1 - 1e-6):
        raise InputError(
            f"{given.where} has {given.sfreq:g} Hz and the model {rate:g} Hz; expected at least that rate, as "
            "resampling cannot bring back what is not there."
        )
    if given.sfreq > rate * (1 + 1e-6):
        axis = first + np.arange(given.n_times) / given.sfreq
        times = Times(axis, given.sfreq, SignalOptions(resample=rate), given.where)
        rate, first, n_times = times.sfreq, times.tmin, times.n_times
        notes.append(f"Resampled from {given.sfreq:g} to {rate:g} Hz.")
    exact = ((about.tmin or 0.0) - first) * rate
    start = round(exact)
    last = (about.n_times - 1) / about.sfreq
    if start < 0 or start + about.n_times > n_times:
        raise InputError(
            f"{given.where} runs from {first:g} to {first + (n_times - 1) / rate:g} s; the model needs "
            f"{about.tmin or 0.0:g} to {(about.tmin or 0.0) + last:g} s."
        )
    if abs(exact - start) > 0.01:
        notes.append(f"Samples lie {abs(exact - start) / rate * 1000:.1f} ms beside those of the model.")
    return times, start


def _resampled(block: np.ndarray, times: Times, about: Description) -> np.ndarray:
    import mne

    info = mne.create_info(list(about.channels), times.source_rate, "misc", verbose="error")
    return times.apply(np.asarray(block, np.float64), info)


def _groups(given: GivenSignals, average: bool) -> tuple[np.ndarray, np.ndarray]:
    """Number of the query that each trial belongs to, and the first trial of each query."""
    if not average:
        rows = np.arange(len(given.names))
        return rows, rows
    unknown = next((name for name, image in zip(given.names, given.images, strict=True) if not image), None)
    if unknown is not None:
        raise InputError(
            f"{given.where} does not say what image {unknown} showed; expected it of every trial to average "
            "repetitions, in a column image or stim_file of the epochs' metadata, or average them yourself."
        )
    group = pd.factorize(np.array(given.images))[0]
    return group, np.unique(group, return_index=True)[1]


def _check_finite(part: np.ndarray, start: int, given: GivenSignals, about: Description) -> None:
    if not np.isfinite(part).all():
        row, channel, _ = np.argwhere(~np.isfinite(part))[0]
        raise InputError(
            f"{given.where}, {given.names[start + row]}, channel {about.channels[channel]!r} holds a value that is not "
            "finite; expected finite numbers."
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
