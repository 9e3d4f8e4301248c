"""Plain arrays and tables become a study: one .npy file per subject, one row of a table per trial."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.import_options import IMAGE_COLUMNS, About, TrialOptions
from ubp.data.import_parts import BLOCK_BYTES, Part
from ubp.data.import_study import import_study
from ubp.data.study import Study
from ubp.data.tables import TRIAL_COLUMNS, read_channels, read_table
from ubp.errors import InputError


def import_arrays(
    signals: Mapping[str, Path | str],
    trials: Mapping[str, Path | str],
    out: Path | str,
    images: Path | str,
    channels: Mapping[str, Path | str] | None = None,
    options: TrialOptions | None = None,
    about: About | None = None,
    *,
    sfreq: float | None = None,
    tmin: float | None = None,
    quiet: bool = False,
) -> Study:
    """Write a study from arrays and tables.

    Signals are read in blocks; float16 stays, all other numbers become float32.

    Parameters
    ----------
    signals : mapping of subject to .npy file
        Array of shape (n_trials, n_channels, n_times), or (n_trials, n_features) for one sample per trial, as of
        fMRI or spike counts. Nothing is unpickled.
    trials : mapping of subject to .csv or .tsv file
        One row per trial, in the order of the array. Rows without an image are left out and counted.
    out : path
        The new study.
    images : path
        Folder that the names of images are relative to.
    channels : mapping of subject to .csv or .tsv file, optional
        Columns name and type, and x, y, z (m) if known; by default c001 and so on, of the type of the modality.
    options, about : TrialOptions, About
        Columns and splits; name, modality and licence.
    sfreq, tmin : float, optional
        Rate (Hz) and time of the first sample (s).
    quiet : bool
        No progress and no notes.

    Raises
    ------
    InputError
        When a file cannot be read, shapes and rows disagree, or as of :func:`ubp.data.import_study.import_study`.
    """
    if not signals:
        raise InputError("There are no signals to import; expected at least one .npy file.")
    options, about, channels = options or TrialOptions(), about or About(), channels or {}
    bare = [subject for subject in signals if subject not in trials]
    if bare:
        raise InputError(f"There is no table of trials for {bare[0]}; expected one for every file of signals.")
    parts = {
        subject: [
            _part(Path(file), Path(trials[subject]), channels.get(subject), options, about.modality, sfreq, tmin),
        ]
        for subject, file in signals.items()
    }
    return import_study(Path(out), Path(images), parts, about, {"source": "arrays"}, options, quiet=quiet)


def _part(
    file: Path,
    trials: Path,
    channels: Path | str | None,
    options: TrialOptions,
    modality: str | None,
    sfreq: float | None,
    tmin: float | None,
) -> Part:
    signals = open_array(file)
    n_trials, n_channels, n_times = signals.shape
    columns = (options.image_column, options.concept_column, options.session_column, options.split_column)
    text = {name for name in (*columns, *IMAGE_COLUMNS, *TRIAL_COLUMNS) if name} - {"repetition"}
    table = read_table(trials, (), sorted(text), separator_of(trials))
    if len(table) != n_trials:
        raise InputError(
            f"{trials} has {len(table)} rows and {file} has {n_trials} trials (shape {signals.shape}); "
            "expected one row per trial, in the same order."
        )
    if channels is None:
        width = max(3, len(str(n_channels)))
        names = [f"c{number:0{width}d}" for number in range(1, n_channels + 1)]
        found = pd.DataFrame({"name": names, "type": modality or "unknown"})
    else:
        found = read_channels(Path(channels), n_channels, separator_of(Path(channels)), str(file))

    def read(rows: np.ndarray, names: Sequence[str]) -> Iterator[np.ndarray]:
        picks = found["name"].tolist() == list(names) or [found["name"].tolist().index(name) for name in names]
        size = max(1, BLOCK_BYTES // (8 * n_channels * n_times))
        for start in range(0, len(rows), size):
            # mapped anew: pages of a map stay in memory as long as it does
            block = open_array(file)[rows[start : start + size]]
            yield block if picks is True else block[:, picks]

    return Part(str(file), table, str(trials), found, sfreq, tmin, n_times, read)


def open_array(file: Path) -> np.ndarray:
    """Memory map of a .npy file as (n_trials, n_channels, n_times).

    Raises
    ------
    InputError
        When the file is absent, pickled, cut short, or not an array of two or three dimensions of real numbers.
    """
    expected = "expected an array of numbers (n_trials, n_channels, n_times) or (n_trials, n_features) from numpy.save"
    if not file.is_file():
        raise InputError(f"{file} does not exist; {expected}.")
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{file} cannot be read ({error}); {expected}.") from error
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise InputError(f"{file} holds values of type {array.dtype}; {expected}.")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{file} has shape {array.shape}; {expected}, none of them zero.")
    return array if array.ndim == 3 else array[:, :, None]


def separator_of(file: Path) -> str:
    """A tab for .tsv and .txt, else a comma."""
    return "\t" if file.suffix.lower() in (".tsv", ".txt") else ","
