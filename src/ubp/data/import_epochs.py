"""Epochs of mne become a study, by the metadata that names the image of each trial."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ubp.data.import_options import About, SignalOptions, TrialOptions, chosen
from ubp.data.import_parts import Part
from ubp.data.import_study import import_study
from ubp.data.mne_signals import Times, channel_table, choose_channels, read_blocks, reading
from ubp.data.study import Study
from ubp.errors import InputError

if TYPE_CHECKING:
    import mne


def import_epochs(
    sources: "Mapping[str, Path | str | mne.BaseEpochs]",
    out: Path | str,
    images: Path | str,
    trials: TrialOptions | None = None,
    signals: SignalOptions | None = None,
    about: About | None = None,
    *,
    quiet: bool = False,
) -> Study:
    """Write a study from epochs whose metadata names the image of each trial.

    Signals stay in mne's units (volts, tesla) as float32, with projections applied. Further columns of the metadata are
    kept. Trials without an image are left out and counted. Memory holds one block of epochs, where the epochs are on
    disk.

    Parameters
    ----------
    sources : mapping of subject to epochs or a `-epo.fif` or `-epo.fif.gz` file
        Subjects are named sub-01 and the like; of files that mne has split, the first is named.
    out : path
        The new study.
    images : path
        Folder that the names in the metadata are relative to.
    trials, signals, about : TrialOptions, SignalOptions, About
        Columns and splits; channels, rate and window; name and licence.
    quiet : bool
        No progress and no notes.

    Raises
    ------
    InputError
        When a file is not epochs, metadata or a column is missing, rates or windows differ, a signal is NaN, or the
        study breaks a rule of :func:`ubp.data.import_study.import_study`.
    """
    if not sources:
        raise InputError("There are no epochs to import; expected at least one file.")
    trials, signals, about = trials or TrialOptions(), signals or SignalOptions(), about or About()
    parts = {subject: [epochs_part(source, signals, subject)] for subject, source in sources.items()}
    facts = {"source": "epochs of mne", "description": chosen(trials, signals)}
    return import_study(Path(out), Path(images), parts, about, facts, trials, signals.common_channels, quiet)


def epochs_part(
    source: "Path | str | mne.BaseEpochs",
    options: SignalOptions,
    name: str,
    session: str | None = None,
    table: "pd.DataFrame | None" = None,
    table_where: str = "",
) -> Part:
    """Epochs in a file (opened again when they are read) or in memory.

    Parameters
    ----------
    source : path or mne.BaseEpochs
        The epochs.
    options : SignalOptions
        Channels, rate and window.
    name : str
        What epochs in memory are called in messages.
    session : str, optional
        Of all trials.
    table, table_where : DataFrame, str
        One row per epoch and what it is, where the epochs have no metadata of their own.
    """
    where = str(source) if isinstance(source, Path | str) else f"The epochs of {name}"
    epochs = open_epochs(source)
    metadata = epochs.metadata if epochs.metadata is not None else table
    if metadata is None:
        raise InputError(f"{where} has no metadata; add a table (epochs.metadata) with the image of every trial.")
    kept = choose_channels(epochs.info, options, where)
    times = Times(epochs.times, float(epochs.info["sfreq"]), options, where)

    held = None if isinstance(source, Path | str) else epochs  # a file is closed until its turn comes

    def read(rows: np.ndarray, names: Sequence[str]) -> Iterator[np.ndarray]:
        again = open_epochs(source) if held is None else held
        yield from read_blocks(again, rows, names, times, where)

    return Part(
        where=where,
        table=metadata,
        table_where=table_where if epochs.metadata is None else f"the metadata of {where}",
        channels=channel_table(epochs.info, kept),
        sfreq=times.sfreq,
        tmin=times.tmin,
        n_times=times.n_times,
        read=read,
        session=session,
    )


def open_epochs(source: "Path | str | mne.BaseEpochs") -> "mne.BaseEpochs":
    """Epochs whose bad ones are dropped; signals in a file stay there.

    Raises
    ------
    InputError
        When the file is absent, not epochs, or cut short.
    """
    import mne

    if not isinstance(source, mne.BaseEpochs):
        if not Path(source).is_file():
            raise InputError(f"{source} does not exist; expected a file of mne epochs, such as sub-01-epo.fif.")
        with reading(str(source), "epochs of mne"):
            return mne.read_epochs(source, preload=False, verbose="error")
    try:
        len(source)
    except RuntimeError:  # of mne: bad epochs are not dropped yet
        return source.copy().drop_bad(verbose="error")
    return source
