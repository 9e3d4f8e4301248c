"""A BIDS dataset becomes a study: continuous recordings with their events, or epochs of a derivative dataset."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.bids_files import BidsFile, BidsSelection, describe, events_of, find_recordings, stimuli
from ubp.data.bids_run import CutOptions, read_events, run_part
from ubp.data.import_epochs import epochs_part, open_epochs
from ubp.data.import_options import About, SignalOptions, TrialOptions, chosen
from ubp.data.import_parts import Part
from ubp.data.import_study import import_study
from ubp.data.import_table import has_image
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.files import check_absent
from ubp.progress import progress

SLACK = 1.5  # samples by which an epoch's event may differ from its row in events.tsv


def import_bids(
    root: Path | str,
    out: Path | str,
    images: Path | str | None = None,
    selection: BidsSelection | None = None,
    subjects: Sequence[str] | None = None,
    trials: TrialOptions | None = None,
    signals: SignalOptions | None = None,
    cut: CutOptions | None = None,
    about: About | None = None,
    *,
    quiet: bool = False,
) -> Study:
    """Write a study from a BIDS dataset of EEG, MEG or intracranial recordings.

    Of a raw dataset, each row of the runs' events.tsv that names an image is a trial, cut out from -0.2 to 1 s around
    its onset, less the mean before onset. Where the dataset holds files of epochs (`*_epo.fif`, a derivative), these
    are the trials; the image is named by their metadata, or else by the events.tsv that they were made from, which is
    looked for beside them and in the raw dataset whose `derivatives` folder they are in. All sessions and runs of a
    subject become one recording. Trials without an image, at an end of a run, or in a segment annotated as bad are left
    out and counted. Channels marked bad are kept unless `signals` says otherwise. Signals are in mne's units (volts,
    tesla) as float32, with projections applied. One run is open at a time, and in memory only if it is filtered.

    Parameters
    ----------
    root : path
        The dataset.
    out : path
        The new study.
    images : path, optional
        Folder that the names of images are relative to; by default `stimuli` of the dataset.
    selection : BidsSelection
        Task, sessions, data type.
    subjects : sequence of str, optional
        "sub-01" or "01"; by default all.
    trials, signals, cut, about : TrialOptions, SignalOptions, CutOptions, About
        Columns and splits; channels, rate and window; filter and baseline; name and licence, by default those of
        dataset_description.json.
    quiet : bool
        No progress and no notes.

    Raises
    ------
    InputError
        Names the file and the fact; `out` is not there then.
    UbpError
        When mne-bids is not installed, or the disk is full.
    """
    root, out = Path(root), Path(out)
    selection, about, cut = selection or BidsSelection(), about or About(), cut or CutOptions()
    trials, signals = trials or TrialOptions(), signals or SignalOptions()
    check_absent(out)
    found = find_recordings(root, selection, subjects)
    facts = describe(root)
    folder = stimuli(root) if images is None else Path(images)
    parts: dict[str, list[Part]] = {}
    with progress(quiet) as bar:
        task = bar.add_task("files, opened", total=sum(map(len, found.values())))
        for subject, files in found.items():
            for file in files:
                part = (
                    _epochs(file, root, signals, trials.image_column)
                    if file.epochs
                    else run_part(file, root, signals, cut, trials.image_column)
                )
                parts.setdefault(subject, []).append(part)
                bar.advance(task)
    facts["description"] = chosen(selection, trials, signals, cut)
    return import_study(out, folder, parts, about, facts, trials, signals.common_channels, quiet)


def _epochs(file: BidsFile, root: Path, signals: SignalOptions, image_column: str | None) -> Part:
    epochs = open_epochs(file.path)
    if epochs.metadata is not None:
        return epochs_part(file.path, signals, file.subject, file.session)
    path = events_of(file, root)
    events = read_events(path)
    table = match_events(
        events, has_image(events, image_column), epochs.events[:, 0], epochs.selection, len(epochs.drop_log)
    )
    if table is None:
        raise InputError(
            f"{file.path} has no metadata, and its {len(epochs)} epochs do not fit the {len(events)} rows of {path}; "
            "add a table (epochs.metadata) with the image of every trial."
        )
    return epochs_part(file.path, signals, file.subject, file.session, table, f"the events of {file.path} in {path}")


def match_events(
    events: pd.DataFrame, image: np.ndarray, samples: np.ndarray, selection: np.ndarray, n_made: int
) -> pd.DataFrame | None:
    """The rows of an events.tsv that epochs were made from, or None where that is not certain.

    Epochs remember how many events they were made from, which of these are left, and at which sample each was. They fit
    all rows, or the rows that name an image, if the count agrees and onsets are a line in samples.

    Parameters
    ----------
    events : DataFrame
        With a column onset (s).
    image : bool array
        Rows that name an image.
    samples : int array of shape (n_epochs,)
        Sample of each epoch's event.
    selection : int array of shape (n_epochs,)
        Which of the events each epoch is.
    n_made : int
        How many events there were.
    """
    for rows in (np.arange(len(events)), np.flatnonzero(image)):
        if len(rows) != n_made or not len(selection):
            continue
        table = events.iloc[rows[selection]]
        onsets = table["onset"].to_numpy(float)
        if len(onsets) == 1:
            return table
        slope = np.ptp(samples) / max(np.ptp(onsets), 1e-9)
        if np.abs((samples - samples[0]) - slope * (onsets - onsets[0])).max() <= SLACK:
            return table
    return None
