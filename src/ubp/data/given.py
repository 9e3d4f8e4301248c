"""Signals that somebody gives to a trained model: a file of epochs, a study, or an array, all told in one way."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ubp.data.import_epochs import open_epochs
from ubp.data.import_options import IMAGE_COLUMNS, SignalOptions
from ubp.data.mne_signals import Times, read_blocks
from ubp.data.recording import Recording
from ubp.data.stream import Region
from ubp.data.stream import read_blocks as read_study_blocks
from ubp.data.study import Study
from ubp.data.tables import SPLITS
from ubp.errors import InputError

if TYPE_CHECKING:
    import mne

BLOCK_BYTES = 1 << 24
EXPECTED = "expected mne epochs (.fif, .fif.gz), the folder of a study, or an array (.npy)"


@dataclass(frozen=True, eq=False)
class GivenSignals:
    """Trials as they come, before a model's needs are looked at.

    Parameters
    ----------
    where : str
        For messages.
    channels : tuple of str or None
        None where nobody said.
    sfreq, tmin : float or None
        In Hz, and time of the first sample in seconds.
    n_times : int
        Samples of a trial.
    names : tuple of str
        What each trial is called in a table.
    images : tuple of str
        Image that each trial showed; empty where that is not known.
    read : callable
        Rows and places of channels to blocks of shape (n, n_channels, n_times), in the order of the rows.
    subject : str, optional
        Whose signals they are.
    bads : tuple of str
        Channels marked bad.
    rows : int array
        Trials to take.
    """

    where: str
    channels: tuple[str, ...] | None
    n_channels: int
    sfreq: float | None
    tmin: float | None
    n_times: int
    names: tuple[str, ...]
    images: tuple[str, ...]
    read: Callable[[np.ndarray, np.ndarray], Iterator[np.ndarray]]
    subject: str | None = None
    bads: tuple[str, ...] = ()

    def select(self, trials: Sequence[int]) -> "GivenSignals":
        """Some of the trials, by number from 0.

        Raises
        ------
        InputError
            When there is no such trial.
        """
        n = len(self.names)
        for trial in trials:
            if not 0 <= trial < n:
                raise InputError(f"{self.where} has no trial {trial}; expected numbers from 0 to {n - 1}.")
        chosen = np.array(trials, int)

        def read(rows: np.ndarray, picks: np.ndarray) -> Iterator[np.ndarray]:
            return self.read(chosen[rows], picks)

        names, images = (tuple(values[trial] for trial in trials) for values in (self.names, self.images))
        return replace(self, names=names, images=images, read=read)


def given_signals(
    source: "Path | str | np.ndarray | mne.BaseEpochs",
    *,
    subject: str | None = None,
    split: str = "test",
    trials: Sequence[int] = (),
    image_column: str | None = None,
    channels: Sequence[str] | None = None,
    sfreq: float | None = None,
    tmin: float | None = None,
) -> GivenSignals:
    """Look at signals without reading them.

    Parameters
    ----------
    source : path, array or mne.BaseEpochs
        Epochs, a study's folder, or an array (n_trials, n_channels, n_times) or (n_channels, n_times).
    subject : str, optional
        Whose: needed of a study with several subjects.
    split : {"train", "test"}
        Of a study.
    trials : sequence of int
        Numbers from 0 in the epochs, the array or the split; by default all.
    image_column : str, optional
        Of the epochs' metadata; by default stim_file or image, where there is such.
    channels, sfreq, tmin : optional
        Names, rate (Hz) and first time (s) of an array; by default those of the model.

    Raises
    ------
    InputError
        When it cannot be read as any of these.
    """
    if isinstance(source, Path | str):
        given = _from_path(Path(source), subject, split, image_column, channels, sfreq, tmin)
    elif isinstance(source, np.ndarray):
        given = _from_array(source, "The array", channels, sfreq, tmin)
    else:
        given = _from_epochs(source, "The recording", image_column)
    if not given.names:
        raise InputError(f"{given.where} holds no trial; expected at least one.")
    given = replace(given, subject=given.subject or subject)
    return given.select(trials) if len(trials) else given


def _from_path(
    path: Path,
    subject: str | None,
    split: str,
    image_column: str | None,
    channels: Sequence[str] | None,
    sfreq: float | None,
    tmin: float | None,
) -> GivenSignals:
    array = path.suffix.lower() == ".npy"
    if not array and (channels is not None or sfreq is not None or tmin is not None):
        raise InputError(f"{path} says itself what its channels and times are; leave them out, they are for arrays.")
    if array:
        return _from_array(read_array(path), str(path), channels, sfreq, tmin)
    if path.is_dir():
        study = Study.open(path, allow_shared_concepts=True)
        if subject is None and len(study.subjects) > 1:
            raise InputError(f"{path} has the subjects {', '.join(study.subjects)}; say whose signals are meant.")
        return given_recording(study.recording(subject or study.subjects[0]), split)
    if path.name.lower().endswith((".fif", ".fif.gz")):
        return _from_epochs(path, str(path), image_column)
    what = "is not a file of signals" if path.exists() else "does not exist"
    raise InputError(f"{path} {what}; {EXPECTED}.")


def _from_epochs(source: "Path | mne.BaseEpochs", where: str, image_column: str | None) -> GivenSignals:
    import mne

    if not isinstance(source, Path | mne.BaseEpochs):
        raise InputError(f"The signals are {type(source).__name__}; {EXPECTED}.")
    epochs = open_epochs(source)
    rate = float(epochs.info["sfreq"])
    as_they_are = Times(epochs.times, rate, SignalOptions(), where)

    def read(rows: np.ndarray, picks: np.ndarray) -> Iterator[np.ndarray]:
        yield from read_blocks(epochs, rows, [epochs.ch_names[pick] for pick in picks], as_they_are, where)

    codes = {number: name for name, number in epochs.event_id.items()}
    events = [codes.get(number, str(number)) for number in epochs.events[:, 2]]
    images = _images_of(epochs.metadata, len(events), image_column, where)
    return GivenSignals(
        where=where,
        channels=tuple(epochs.ch_names),
        n_channels=len(epochs.ch_names),
        sfreq=rate,
        tmin=float(epochs.times[0]),
        n_times=len(epochs.times),
        names=tuple(f"epoch {i}" if len(codes) < 2 else f"epoch {i}, {event}" for i, event in enumerate(events)),
        images=images,
        read=read,
        bads=tuple(epochs.info["bads"]),
    )


def _images_of(metadata: "pd.DataFrame | None", n: int, column: str | None, where: str) -> tuple[str, ...]:
    """What the metadata says was shown; "" where it says nothing."""
    has = [] if metadata is None else list(map(str, metadata.columns))
    if column is not None and column not in has:
        raise InputError(f"{where} has no column {column!r} in its metadata; it has {', '.join(has) or 'none'}.")
    column = column or next((name for name in IMAGE_COLUMNS if name in has), None)
    if metadata is None or column is None:
        return ("",) * n
    return tuple("" if pd.isna(image) or image == "n/a" else str(image) for image in metadata[column])


def given_recording(recording: Recording, split: str = "test") -> GivenSignals:
    """Trials of one split of a study's recording; nothing is read yet.

    Raises
    ------
    InputError
        When the split is unknown.
    """
    if split not in SPLITS:
        raise InputError(f"The split {split!r} is unknown; expected 'train' or 'test'.")
    trials = np.flatnonzero((recording.trials["split"] == split).to_numpy())
    _, n_channels, n_times = recording.header.shape
    table = recording.trials.iloc[trials]

    def read(rows: np.ndarray, picks: np.ndarray) -> Iterator[np.ndarray]:
        region = Region(picks, 0, n_times)
        size = max(1, BLOCK_BYTES // (4 * len(picks) * n_times))
        for start in range(0, len(rows), size):
            asked = trials[rows[start : start + size]]
            wanted, place = np.unique(asked, return_inverse=True)
            block = np.empty((len(wanted), len(picks), n_times), np.float32)
            for where, part in read_study_blocks(recording.path, recording.header, wanted, region):
                block[where] = part.numpy()
            yield block[place]

    return GivenSignals(
        where=f"{recording.folder} ({split})",
        channels=recording.channel_names,
        n_channels=n_channels,
        sfreq=recording.sfreq,
        tmin=recording.tmin,
        n_times=n_times,
        names=tuple(f"trial {i}" for i in range(len(trials))),
        images=tuple(table["image"]),
        read=read,
        subject=recording.subject,
    )


def read_array(path: Path) -> np.ndarray:
    """Map a .npy file of numbers; nothing is unpickled.

    Raises
    ------
    InputError
        When it is absent, cut short, or not an array of real numbers.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; {EXPECTED}.") from error
    except (OSError, ValueError, EOFError, OverflowError, SyntaxError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise InputError(f"{path} cannot be read as an array of numbers ({reason}); {EXPECTED}.") from error
    if not isinstance(array, np.ndarray):  # NumPy opens archives whatever they are called
        array.close()
        raise InputError(f"{path} is an archive and not an array of numbers; {EXPECTED}.")
    return array


def _from_array(
    array: np.ndarray, where: str, channels: Sequence[str] | None, sfreq: float | None, tmin: float | None
) -> GivenSignals:
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(
            f"{where} holds {array.dtype} of shape {array.shape}; expected real numbers of shape (n_trials, "
            "n_channels, n_times), or (n_channels, n_times) of one trial."
        )
    data = array if array.ndim == 3 else array[None]
    if channels is not None and len(channels) != data.shape[1]:
        raise InputError(f"{where} has {data.shape[1]} channels and {len(channels)} are named; expected one name each.")
    if sfreq is not None and not 0 < sfreq < np.inf:
        raise InputError(f"The rate of {where} is given as {sfreq:g} Hz; expected a number above 0.")
    size = max(1, BLOCK_BYTES // (8 * data.shape[1] * data.shape[2]))

    def read(rows: np.ndarray, picks: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(rows), size):
            yield np.asarray(data[rows[start : start + size]][:, picks], np.float64)

    return GivenSignals(
        where=where,
        channels=None if channels is None else tuple(channels),
        n_channels=data.shape[1],
        sfreq=sfreq,
        tmin=tmin,
        n_times=data.shape[2],
        names=tuple(f"trial {i}" for i in range(len(data))),
        images=("",) * len(data),
        read=read,
    )
