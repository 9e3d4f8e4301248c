"""Recordings of any kind as parts of a study, and which trials and channels of them the study gets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.import_options import TrialOptions
from ubp.data.import_table import draw_test_concepts, join_tables, trial_table
from ubp.data.info import MODALITIES
from ubp.errors import InputError
from ubp.files import inside

BLOCK_BYTES = 1 << 26
MODALITY = {"mag": "meg", "grad": "meg", "seeg": "eeg", "ecog": "eeg", "dbs": "eeg"}  # of other types than itself
Read = Callable[[np.ndarray, Sequence[str]], Iterator[np.ndarray]]


@dataclass(frozen=True, eq=False)
class Part:
    """Trials of one subject in one file.

    Parameters
    ----------
    where : str
        The file, for messages.
    table : DataFrame
        One row per trial, columns as they were found.
    table_where : str
        What the table is, for messages.
    channels : DataFrame
        Columns name and type, and places x, y, z where they are known.
    sfreq, tmin : float or None
        Rate (Hz) and time of the first sample (s).
    n_times : int
        Samples of a trial.
    read : callable
        From row numbers of `table` (increasing) and channel names to blocks of float arrays (n_trials, n_channels,
        n_times).
    session : str, optional
        Of all trials.
    incomplete : bool array, optional
        Trials that cannot be cut out: too near an end of the recording, or in a segment marked bad.
    memory : int
        Bytes that reading it takes, but for a block.
    """

    where: str
    table: pd.DataFrame
    table_where: str
    channels: pd.DataFrame
    sfreq: float | None
    tmin: float | None
    n_times: int
    read: Read
    session: str | None = None
    incomplete: np.ndarray | None = None
    memory: int = 0


def modality_of(part: Part) -> str:
    """The modality of the first channel type that has one.

    Raises
    ------
    InputError
        When none has.
    """
    kinds = list(dict.fromkeys(part.channels["type"].astype(str).str.lower()))
    for kind in kinds:
        if MODALITY.get(kind, kind) in MODALITIES:
            return MODALITY.get(kind, kind)
    raise InputError(
        f"The channel types of {part.where} ({', '.join(kinds)}) do not tell the modality; name one of "
        f"{', '.join(MODALITIES)} (modality)."
    )


def choose_trials_of(
    subjects: Mapping[str, Sequence[Part]], images: Path, options: TrialOptions, notes: list[str]
) -> tuple[dict[str, pd.DataFrame], dict[str, list[np.ndarray]]]:
    """Trials that name an image and can be cut out, with their split; no signal is read.

    Parameters
    ----------
    subjects : mapping of str to sequence of Part
        The recordings.
    images : Path
        Folder of the images.
    options : TrialOptions
        Columns and splits.
    notes : list of str
        What is left out is said here.

    Returns
    -------
    tables : dict of str to DataFrame
        trials.csv of every subject.
    rows : dict of str to list of int array
        Rows of the tables of the subject's parts that these are.

    Raises
    ------
    InputError
        When a column is missing, an image is not there, or a subject has no trial left.
    """
    tables: dict[str, pd.DataFrame] = {}
    rows: dict[str, list[np.ndarray]] = {}
    unnamed = incomplete = 0
    for subject, parts in subjects.items():
        found = []
        for part in parts:
            table = trial_table(part.table, part.table_where, images, options, part.session)
            unnamed += len(part.table) - len(table)
            if part.incomplete is not None:
                kept = ~part.incomplete[table.index]
                incomplete += int((~kept).sum())
                table = table[kept]
            _check_images(table, part, images)
            found.append(table)
        if not any(map(len, found)):
            total = sum(len(part.table) for part in parts)
            raise InputError(
                f"None of the {total} trials of {subject} can be used ({parts[0].table_where} is the first table); "
                "expected trials that name an image and lie inside the recording."
            )
        rows[subject] = [table.index.to_numpy() for table in found]
        tables[subject] = join_tables(found)
    if unnamed:
        notes.append(f"{unnamed} trials name no image and are left out.")
    if incomplete:
        notes.append(f"{incomplete} trials touch an end of the recording or a segment marked bad and are left out.")
    if options.test_concepts:
        draw_test_concepts(tables, options.test_concepts, options.seed)
    return tables, rows


def _check_images(table: pd.DataFrame, part: Part, images: Path) -> None:
    names = table["image"].drop_duplicates()
    try:
        absent = [(row, name) for row, name in names.items() if not inside(images, name).is_file()]
    except InputError as error:
        raise InputError(f"{part.table_where}: {error}") from error
    if absent:
        row, name = absent[0]
        raise InputError(
            f"{part.table_where}, row {row}: the image {name!r} is not in {images} ({len(absent)} of {len(names)} "
            "images are not there); expected a file of that name, or another folder of images."
        )


def choose_channels_of(
    subjects: Mapping[str, Sequence[Part]], common: bool, notes: list[str]
) -> dict[str, pd.DataFrame]:
    """The channels that all parts of a subject have, in the order of the first; or those of all subjects.

    Parameters
    ----------
    subjects : mapping of str to sequence of Part
        The recordings.
    common : bool
        Keep only channels that all subjects have.
    notes : list of str
        What is left out is said here.

    Raises
    ------
    InputError
        When no channel is left.
    """
    chosen: dict[str, pd.DataFrame] = {}
    for subject, parts in subjects.items():
        shared = set.intersection(*(set(part.channels["name"]) for part in parts))
        chosen[subject] = _keep(parts[0].channels, shared, f"the files of {subject}")
        lost = sorted({name for part in parts for name in part.channels["name"]} - shared)
        if lost:
            notes.append(f"{subject} keeps the {len(shared)} channels of all its files, without {_few(lost)}.")
    everyone = set.intersection(*(set(table["name"]) for table in chosen.values()))
    differing = sorted({name for table in chosen.values() for name in table["name"]} - everyone)
    if differing and common:
        chosen = {subject: _keep(table, everyone, "the subjects") for subject, table in chosen.items()}
        notes.append(f"The {len(everyone)} channels of all subjects are kept, without {_few(differing)}.")
    elif differing:
        notes.append(
            f"The subjects differ in channels ({_few(differing)}); training across subjects needs common_channels, or "
            "channels chosen by name."
        )
    return chosen


def _keep(table: pd.DataFrame, names: set[str], whose: str) -> pd.DataFrame:
    kept = table[table["name"].isin(names)].reset_index(drop=True)
    if kept.empty:
        raise InputError(f"No channel is common to {whose}; import them one by one, or name channels that all have.")
    return kept


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
