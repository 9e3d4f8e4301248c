"""The released epochs of one subject of THINGS-MEG, read block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ubp.data.facts import DatasetFacts
from ubp.data.fif import check_whole
from ubp.data.mne_signals import channel_table
from ubp.data.things_meg_options import ThingsMEGOptions
from ubp.errors import InputError

if TYPE_CHECKING:
    import mne

BLOCK = 64  # epochs read at a time
CTF_SENSOR = r"M[LRZ][CFOPT]\d{2}(-\d+)?"


@dataclass(frozen=True, eq=False)
class EpochsFile:
    """A file of epochs with the files it continues in, checked; signals stay on disk.

    Parameters
    ----------
    files : tuple of Path
        All parts, in order.
    codes : int array of shape (n_epochs,)
        Events.
    channels : DataFrame
        Content of channels.csv, for the channels wanted in the order wanted; x, y, z in metres.
    picks : int array
        Their places in the file.
    keep : slice
        Samples wanted.
    before : slice or None
        Samples whose mean is subtracted.
    tmin : float
        Second of the first sample wanted.
    """

    files: tuple[Path, ...]
    codes: np.ndarray
    channels: pd.DataFrame
    picks: np.ndarray
    keep: slice
    before: slice | None
    tmin: float

    @classmethod
    def open(cls, path: Path, options: ThingsMEGOptions, facts: DatasetFacts) -> "EpochsFile":
        """Read all but the signals of a recording.

        Raises
        ------
        InputError
            When a part is missing or cut short, or rate, channels or times are not those of the dataset.
        """
        files = check_whole(path)
        epochs = _read(path, _stamp(path))
        import mne

        facts.check("Hz", epochs.info["sfreq"], facts.sfreq, path)
        picks = mne.pick_types(epochs.info, meg=True, ref_meg=False, exclude=())
        table = channel_table(epochs.info, [epochs.ch_names[pick] for pick in picks])
        unlike = table["name"][~table["name"].str.fullmatch(CTF_SENSOR)]
        if len(unlike):
            raise InputError(
                f"{path} has the MEG channel {unlike.iloc[0]!r}; expected {facts.n_channels} names such as MLC11-1609."
            )
        facts.check("MEG channels", len(picks), facts.n_channels, path)
        if options.channels != ("all",):
            names = list(table["name"])
            absent = [name for name in options.channels if name not in names]
            if absent:
                raise InputError(
                    f"{path} has no channel {absent[0]!r}; expected some of its {len(names)}, such as {names[0]}."
                )
            rows = [names.index(name) for name in options.channels]
            picks, table = picks[rows], table.iloc[rows].reset_index(drop=True)
        keep = _span("window", options.window, epochs.times, facts.sfreq, path)
        before = options.baseline and _span("baseline", options.baseline, epochs.times, facts.sfreq, path)
        tmin = round(float(epochs.times[keep.start]), 9)
        return cls(files, epochs.events[:, 2].astype(np.int64), table, picks, keep, before, tmin)

    @property
    def n_times(self) -> int:
        """Number of samples wanted."""
        return self.keep.stop - self.keep.start

    def blocks(self, numbers: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Some epochs, block by block; which of `numbers` a block holds, and float64 (n, n_channels, n_times).

        Raises
        ------
        InputError
            When a signal is NaN or infinite.
        """
        path = self.files[0]
        epochs = _read(path, _stamp(path))
        for first in range(0, len(numbers), BLOCK):
            some = slice(first, min(first + BLOCK, len(numbers)))
            block = epochs.get_data(picks=self.picks, item=numbers[some], verbose="error")
            if self.before is not None:
                block = block - block[:, :, self.before].mean(axis=2, keepdims=True)
            block = block[:, :, self.keep]
            finite = np.isfinite(block).all(axis=(1, 2))
            if not finite.all():
                raise InputError(f"{path} holds NaN or infinity in epoch {numbers[some][~finite][0]}; fetch it again.")
            yield some, block


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def _read(path: Path, stamp: tuple[int, int]) -> "mne.BaseEpochs":
    """The epochs of a file that has not changed; opening one takes seconds, as its tables are long."""
    import mne

    try:
        return mne.read_epochs(path, preload=False, verbose="error")
    except (ValueError, OSError, RuntimeError, AttributeError, TypeError, KeyError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a file of mne epochs ({reason}); fetch it again.") from error


def _span(what: str, span: tuple[float, float], times: np.ndarray, sfreq: float, path: Path) -> slice:
    """Samples from one second to another, both included."""
    near = 1e-3 / sfreq
    inside = np.flatnonzero((times >= span[0] - near) & (times <= span[1] + near))
    if not len(inside) or span[0] < times[0] - near or span[1] > times[-1] + near:
        raise InputError(
            f"The {what} is {span[0]:g} to {span[1]:g} s and {path} holds {times[0]:g} to {times[-1]:g} s; "
            "choose a span within."
        )
    return slice(int(inside[0]), int(inside[-1]) + 1)
