"""A recording of a study becomes mne's epochs again, in memory or read from disk when they are asked for."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mne
import numpy as np

from ubp.config import unknown
from ubp.data.recording import Recording
from ubp.data.room import check_room
from ubp.data.study import Study
from ubp.data.tables import SPLITS
from ubp.errors import InputError
from ubp.files import atomic_folder
from ubp.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

SPLIT_BYTES = 200_000_000  # of a file of epochs; memory holds a few times that
MAX_FILES = 50  # of a recording; mne allows 100
NAMED_PLACES = ("colin27_1005", "standard_1005")  # one montage, by its newer and its older name


class StudyEpochs(mne.BaseEpochs):
    """Epochs whose signals stay in the study until they are asked for.

    Parameters
    ----------
    recording : Recording
        Whose signals.
    rows : int array
        Trials, in the order of the epochs.
    info, **options
        As of `mne.EpochsArray`.
    """

    def __init__(self, recording: Recording, rows: np.ndarray, info: mne.Info, tmin: float, **options: Any):
        tmax = tmin + (recording.header.shape[2] - 1) / recording.sfreq if recording.sfreq else tmin
        events = np.stack([np.arange(len(rows)), np.zeros(len(rows), int), np.ones(len(rows), int)], axis=1)
        super().__init__(
            info, None, events, {"1": 1}, tmin, tmax, baseline=None, raw=(recording, rows), proj=False, **options
        )
        self.drop_bad()

    def _get_epoch_from_raw(self, idx: int, verbose: Any = None) -> np.ndarray:
        recording, rows = self._raw
        return np.asarray(recording.signals[rows[self.selection[idx]]], np.float64)


def to_epochs(recording: Recording, split: str | None = None, preload: bool = True) -> mne.BaseEpochs:
    """A recording as mne epochs: metadata is trials.csv, names, types and positions are those of channels.csv.

    Where channels.csv has no position at all, EEG channels with names of the 10-05 system (Oz, PO7, ...) get those of
    mne's standard 10-05 montage, so that topographies work; other names have none. Values are those of the study: volts
    and tesla, as mne expects, if it was imported from mne or BIDS; otherwise scale them before you read amplitudes off
    mne's plots. Channel types that mne does not know become `misc`, which `average(picks="all")` and the like include.
    mne puts times on whole samples, so the first is at `round(tmin * sfreq) / sfreq`.

    Parameters
    ----------
    recording : Recording
        Must have a sampling rate.
    split : {"train", "test"}, optional
        By default all trials.
    preload : bool
        True: `mne.EpochsArray`, float64 in memory. False: signals are read from the study when they are asked for, so
        that slices, averages and files of recordings larger than memory can be made.

    Returns
    -------
    mne.EpochsArray or StudyEpochs

    Raises
    ------
    InputError
        When the recording has no sampling rate, or the split is unknown or empty.
    """
    if recording.sfreq is None:
        raise InputError(f"{recording.folder} has no sampling rate, which mne needs; set sfreq in dataset.json.")
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    rows = np.arange(len(recording.trials)) if split is None else np.flatnonzero(recording.trials["split"] == split)
    if not len(rows):
        raise InputError(f"{recording.folder / 'trials.csv'} has no {split} trial; choose the other split.")
    info, tmin = epochs_info(recording), recording.tmin or 0.0
    metadata = recording.trials.iloc[rows].reset_index(drop=True)
    epochs = StudyEpochs(recording, rows, info, tmin, metadata=metadata, verbose="error")
    if not preload:
        return epochs
    data = recording.signals[rows].astype(np.float64)
    return mne.EpochsArray(data, info, tmin=tmin, metadata=metadata, proj=False, verbose="error")


def epochs_info(recording: Recording) -> mne.Info:
    """Names, types and positions of the channels, and the rate."""
    known = mne.io.get_channel_type_constants(include_defaults=True)
    kinds = [kind.lower() if kind.lower() in known else "misc" for kind in recording.channels["type"].astype(str)]
    names: Sequence[str] = recording.channel_names
    info = mne.create_info(list(names), recording.sfreq, kinds, verbose="error")
    if {"x", "y", "z"} <= set(recording.channels):
        places = recording.channels[["x", "y", "z"]].to_numpy(float)
        for channel, place in zip(info["chs"], places, strict=True):
            if np.isfinite(place).all():
                channel["loc"][:3] = place
    elif "eeg" in kinds:
        montages = mne.channels.get_builtin_montages()
        name = next(name for name in NAMED_PLACES if name in montages)
        info.set_montage(name, match_case=False, on_missing="ignore", verbose="error")
    return info


def export_study(
    study: Study,
    out: Path | str,
    subjects: "Sequence[str] | None" = None,
    split: str | None = None,
    *,
    quiet: bool = False,
) -> list[Path]:
    """Write `sub-01-epo.fif` and the like, one file per subject, with trials.csv as metadata.

    Signals are float32, so that `ubp import epochs` on the files gives the same study again. A file larger than 200 MB
    goes on in `sub-01-epo-1.fif` and so on, as mne splits files.

    Parameters
    ----------
    study : Study
        What is exported.
    out : path
        The new folder.
    subjects : sequence of str, optional
        By default all.
    split : {"train", "test"}, optional
        By default all trials.
    quiet : bool
        No progress.

    Returns
    -------
    list of Path
        The first file of every subject.

    Raises
    ------
    InputError
        As :func:`to_epochs`, or when `out` exists or a subject does not.
    UbpError
        When the disk is full.
    """
    about = study.info
    recordings = [study.recording(subject) for subject in subjects or study.subjects]
    sizes = [4 * math.prod(recording.header.shape) for recording in recordings]
    splits = [max(SPLIT_BYTES, size // MAX_FILES) for size in sizes]
    check_room(Path(out), sum(sizes), 5 * max(map(min, sizes, splits)))
    with atomic_folder(Path(out)) as partial, progress(quiet) as bar:
        task = bar.add_task("subjects", total=len(recordings))
        for recording, size in zip(recordings, splits, strict=True):
            epochs = to_epochs(recording, split, preload=False)
            epochs.info["description"] = ". ".join(filter(None, (about.name, about.licence, about.citation)))
            epochs.save(partial / f"{recording.subject}-epo.fif", split_size=size, fmt="single", verbose="error")
            bar.advance(task)
    return [Path(out) / f"{recording.subject}-epo.fif" for recording in recordings]
