"""What mne's objects hold, as a study wants it: channels with their places, and blocks of trials."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ubp.config import unknown
from ubp.data.import_options import SignalOptions
from ubp.data.import_parts import BLOCK_BYTES
from ubp.data.selection import window_samples
from ubp.errors import InputError

if TYPE_CHECKING:
    import mne


@contextlib.contextmanager
def reading(where: str, what: str) -> Iterator[None]:
    """Turn whatever mne raises about a file into one sentence, and its warnings into nothing.

    Raises
    ------
    InputError
        Names the file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"{where} cannot be read as {what} ({reason}); expected a whole file of that kind.") from error


def data_channels(info: "mne.Info") -> list[str]:
    """Names of the channels that carry brain signals, bad ones too; those of type misc where there are none.

    Misc channels beside brain channels are photodiodes, eye trackers and the like, which may tell the image.
    """
    import mne

    kinds = {"meg": True, "eeg": True, "seeg": True, "ecog": True, "dbs": True, "fnirs": True}
    picks = mne.pick_types(info, ref_meg=False, exclude=(), **kinds)
    if not len(picks):
        picks = mne.pick_types(info, misc=True, exclude=())
    return [info.ch_names[pick] for pick in picks]


def choose_channels(info: "mne.Info", options: SignalOptions, where: str) -> list[str]:
    """Names of the channels that the options ask for, in the order asked for.

    Raises
    ------
    InputError
        When a name or type is not there, or nothing is left.
    """
    kinds = dict(zip(info.ch_names, info.get_channel_types(), strict=True))
    if options.channels:
        names: list[str] = []
        for asked in options.channels:
            found = [asked] if asked in kinds else [name for name, kind in kinds.items() if kind == asked]
            if not found:
                raise unknown(f"channel or channel type of {where}", asked, [*dict.fromkeys(kinds.values()), *kinds])
            names += found
        names = list(dict.fromkeys(names))
    else:
        names = data_channels(info)
    kept = [name for name in names if not (options.drop_bads and name in info["bads"])]
    if not kept:
        have = ", ".join(dict.fromkeys(kinds.values())) or "none"
        raise InputError(
            f"{where} has no channel to keep (types: {have}; {len(info['bads'])} marked bad); expected EEG, MEG or the "
            "like, or channels named."
        )
    return kept


def channel_table(info: "mne.Info", names: Sequence[str]) -> pd.DataFrame:
    """Columns name and type, and x, y, z (m, mne's head or device frame) where a place is known."""
    kinds = dict(zip(info.ch_names, info.get_channel_types(), strict=True))
    table = pd.DataFrame({"name": names, "type": [kinds[name] for name in names]})
    places = np.array([info["chs"][info.ch_names.index(name)]["loc"][:3] for name in names], float)
    places[(places == 0).all(axis=1)] = np.nan
    if np.isfinite(places).any():
        table = table.assign(**dict(zip("xyz", places.T, strict=True)))
    return table


class Times:
    """The rate and window that epochs are brought to.

    Parameters
    ----------
    times : array
        Of the epochs, in seconds.
    rate : float
        Of the epochs, in Hz.
    options : SignalOptions
        Rate and window wanted. Resampling is that of `mne.Epochs`, which holds the edges; the window is cut afterwards.
    where : str
        For messages.

    Raises
    ------
    InputError
        When the rate wanted is higher, or the window outside the epochs.
    """

    def __init__(self, times: np.ndarray, rate: float, options: SignalOptions, where: str):
        import mne

        self.first, self.resample, self.source_rate = float(times[0]), options.resample, rate
        if self.resample is not None and self.resample > rate:
            raise InputError(f"{where} has {rate:g} Hz; expected at least the {self.resample:g} Hz asked for.")
        like = self._epochs(np.zeros((1, 1, len(times))), mne.create_info(1, rate))
        self.sfreq = float(like.info["sfreq"])
        start, stop = window_samples(Path(where), len(like.times), self.sfreq, self.first, options.window)
        self.window, self.tmin, self.n_times = slice(start, stop), float(like.times[start]), stop - start

    def _epochs(self, data: np.ndarray, info: "mne.Info") -> "mne.BaseEpochs":
        import mne

        epochs = mne.EpochsArray(data, info, tmin=self.first, proj=False, verbose="error")
        return epochs.resample(self.resample, verbose="error") if self.resample else epochs

    def apply(self, data: np.ndarray, info: "mne.Info") -> np.ndarray:
        """Bring (n_trials, n_channels, n_samples) to (n_trials, n_channels, n_times)."""
        if self.resample and self.resample < info["sfreq"]:
            data = self._epochs(data, info).get_data(copy=False)
        return data[..., self.window]


def read_blocks(
    epochs: "mne.BaseEpochs", rows: np.ndarray, names: Sequence[str], times: Times, where: str
) -> Iterator[np.ndarray]:
    """Epochs in blocks of about 64 MiB, float64 arrays of shape (n_trials, n_channels, n_times).

    Parameters
    ----------
    epochs : mne.BaseEpochs
        On disk or in memory; bad ones dropped.
    rows : int array
        Epochs to read.
    names : sequence of str
        Channels to read.
    times : Times
        What they are brought to.
    where : str
        For messages.

    Raises
    ------
    InputError
        When they cannot be read, or are complex.
    """
    import mne

    picks = [epochs.ch_names.index(name) for name in names]
    info = mne.pick_info(epochs.info, picks, verbose="error")
    size = max(1, BLOCK_BYTES // (8 * len(epochs.ch_names) * len(epochs.times)))
    for start in range(0, len(rows), size):
        with reading(where, "epochs"):
            data = epochs.get_data(picks=picks, item=rows[start : start + size], copy=True, verbose="error")
        if np.iscomplexobj(data):
            raise InputError(f"{where} holds complex numbers; expected signals, not their transform.")
        yield times.apply(data, info)
