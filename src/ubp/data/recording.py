"""One subject's recording: choose trials, channels and a time window, and load them into memory."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.selection import Selection, channel_indices, choose_trials, window_samples
from ubp.data.stream import Region, first_not_finite, read_mean
from ubp.data.tables import SignalsHeader, read_channels, read_signals_header, read_trials
from ubp.data.trials import Trials
from ubp.errors import InputError
from ubp.files import digest


@dataclass(frozen=True, eq=False)
class Recording:
    """Signals of one subject on disk, with the tables that describe them.

    Parameters
    ----------
    folder : Path
        Holds signals.npy, trials.csv and channels.csv.
    header : SignalsHeader
        Shape, type and place of the signals.
    trials : DataFrame
        Columns image, concept, split, repetition, session, and what else trials.csv has; row i describes signals[i].
    channels : DataFrame
        Columns name, type, and what else channels.csv has.
    sfreq, tmin : float or None
        Samples per second (Hz) and time of the first sample (s).
    """

    folder: Path
    header: SignalsHeader
    trials: pd.DataFrame
    channels: pd.DataFrame
    sfreq: float | None
    tmin: float | None

    @classmethod
    def open(cls, folder: Path, sfreq: float | None = None, tmin: float | None = None) -> "Recording":
        """Check the three files without reading a signal.

        Raises
        ------
        InputError
            Names the file, the row and the rule.
        """
        header = read_signals_header(folder / "signals.npy")
        trials = read_trials(folder / "trials.csv", header.shape[0])
        channels = read_channels(folder / "channels.csv", header.shape[1])
        return cls(folder, header, trials, channels, sfreq, tmin)

    @property
    def subject(self) -> str:
        """The folder's name, such as "sub-01"."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The signals.npy."""
        return self.folder / "signals.npy"

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names in the order of the signals' second axis."""
        return tuple(self.channels["name"])

    def images(self, split: str) -> tuple[str, ...]:
        """Names of the images of a split, in order of first appearance."""
        return tuple(self.trials.loc[self.trials["split"] == split, "image"].unique())

    @cached_property
    def signals(self) -> np.memmap:
        """Memory map of shape (n_trials, n_channels, n_times), read-only."""
        return np.memmap(self.path, self.header.dtype, "r", self.header.offset, self.header.shape)

    def load(
        self,
        split: str = "train",
        channels: Sequence[str] | None = None,
        window: tuple[float, float] | None = None,
        average: bool = True,
        repetitions: int | None = None,
        seed: int = 0,
    ) -> Trials:
        """Load one split as float32, in bounded memory: the result and a few MiB.

        Parameters
        ----------
        split : str
            "train" or "test".
        channels : sequence of str, optional
            Names, in the order wanted; default all.
        window : (float, float), optional
            First and last time after image onset in seconds, both included; default all.
        average : bool
            True: one row per image, the mean of its repetitions, in order of first appearance.
            False: one row per trial, in the order of the file.
        repetitions : int, optional
            Use that many randomly chosen repetitions of every image; default all. With one seed, fewer are always
            among more, so that curves over 1, 2, 4, ... repetitions are of nested sets.
        seed : int
            Of that choice.

        Returns
        -------
        Trials

        Raises
        ------
        InputError
            When the split is empty, a channel is unknown or named twice, the window is empty, outside the recording or
            given for signals without times, an image has too few repetitions, or the signals are constant in every
            channel, NaN or infinite. One constant channel among others is allowed: silent units and dead sensors occur.
        """
        return self.read(self.select(split, channels, window, average, repetitions, seed))

    def select(
        self,
        split: str = "train",
        channels: Sequence[str] | None = None,
        window: tuple[float, float] | None = None,
        average: bool = True,
        repetitions: int | None = None,
        seed: int = 0,
    ) -> Selection:
        """What `load` would read with the same arguments; nothing is read yet."""
        n_times = self.header.shape[2]
        return Selection(
            *choose_trials(self.folder, self.trials, split, average, repetitions, seed),
            Region(
                channel_indices(self.folder, self.channel_names, channels),
                *window_samples(self.folder, n_times, self.sfreq, self.tmin, window),
            ),
        )

    def read(self, selection: Selection, out: np.ndarray | None = None) -> Trials:
        """Read what `select` chose.

        Parameters
        ----------
        selection : Selection
            From this recording.
        out : float32 array of `selection.shape`, C order, zero; optional
            Where to put the signals, so that several recordings fill one array.
        """
        out = np.zeros(selection.shape, np.float32) if out is None else out
        if not read_mean(self.path, self.header, selection.rows, selection.group, selection.region, out):
            self.raise_not_finite(selection.rows, selection.region)
            raise InputError(f"The mean of repetitions in {self.path} exceeds float32; rescale the signals.")
        if out.shape[0] * out.shape[2] > 1 and is_constant(out):
            raise InputError(
                f"The signals of {self.subject} in {self.path} are constant in every channel asked for; "
                "expected a recording that changes over trials or time."
            )
        region, table = selection.region, self.trials.iloc[selection.first]
        return Trials(
            signals=out,
            images=tuple(table["image"]),
            concepts=tuple(table["concept"]),
            subjects=(self.subject,) * len(out),
            repetitions=np.bincount(selection.group),
            channels=tuple(self.channels["name"].iloc[region.channels]),
            sfreq=self.sfreq,
            tmin=None if self.tmin is None else self.tmin + (region.start / self.sfreq if self.sfreq else 0.0),
        )

    def raise_not_finite(self, rows: np.ndarray | None = None, region: Region | None = None) -> None:
        """Read signals (default all) in blocks; raise InputError that names the first one that is NaN or infinite."""
        rows = np.arange(self.header.shape[0]) if rows is None else rows
        region = region or Region(np.arange(len(self.channels)), 0, self.header.shape[2])
        bad = first_not_finite(self.path, self.header, rows, region)
        if bad is not None:
            row, channel, value = bad
            raise InputError(not_finite(self.path, row, self.channel_names[channel], value))

    def fingerprint(self) -> str:
        """SHA-256 of the tables and of all signals; read once while the file stays the same."""
        tables = [(self.folder / name).read_bytes() for name in ("trials.csv", "channels.csv")]
        status = self.path.stat()
        return digest(self.subject, *tables, _file_digest(self.path, status.st_size, status.st_mtime_ns, status.st_ino))


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, changed: int, inode: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def not_finite(path: Path, row: int, channel: str, value: float) -> str:
    """The sentence about a NaN or an infinity."""
    return (
        f"{path} of {path.parent.name}: trial {row} (counted from 0), channel {channel!r}, holds {value}; "
        "expected finite numbers."
    )


def is_constant(signals: np.ndarray) -> bool:
    """Whether every channel of (n_trials, n_channels, n_times) stays within float32 rounding of one value."""
    for channel in range(signals.shape[1]):
        values = signals[:, channel]
        low, high = float(values.min()), float(values.max())
        if high - low > 1e-6 * max(abs(low), abs(high)):
            return False
    return True
