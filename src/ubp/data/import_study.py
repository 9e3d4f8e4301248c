"""Recordings of any kind become a study: their trials are gathered, checked, and written one file at a time."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from ubp.data.import_options import About, TrialOptions
from ubp.data.import_table import draw_test_concepts, join_tables, trial_table
from ubp.data.info import MODALITIES
from ubp.data.room import check_room
from ubp.data.study import RecordingData, Study, StudyInfo, create_study
from ubp.errors import InputError
from ubp.files import check_absent, inside
from ubp.progress import messages, progress

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


def import_study(
    out: Path,
    images: Path,
    subjects: Mapping[str, Sequence[Part]],
    about: About,
    facts: Mapping[str, str],
    trials: TrialOptions,
    common_channels: bool = False,
    quiet: bool = False,
) -> Study:
    """Write a study from the parts of every subject.

    A subject's channels are those that all its parts have, in the order of the first. Memory holds one block of trials,
    and what reading a part takes.

    Parameters
    ----------
    out : Path
        The new study.
    images : Path
        Folder that the names of images are relative to; those shown are copied.
    subjects : mapping of str to sequence of Part
        Named sub-01 and the like.
    about : About
        Name, modality, licence and citation, where they are stated.
    facts : mapping
        What the files say of these, and other fields of :class:`ubp.data.info.StudyInfo`.
    trials : TrialOptions
        Columns and splits.
    common_channels : bool
        Keep only channels that all subjects have.
    quiet : bool
        No progress and no notes.

    Raises
    ------
    InputError
        When parts differ in rate or times, share no channel, no trial names an image, an image is not there, a signal
        is NaN or infinite, or the study breaks a rule of :func:`ubp.data.study.create_study`.
    UbpError
        When the disk is full.
    """
    check_absent(out)
    if not images.is_dir():
        raise InputError(f"{images} is not a folder; expected the images that the trials name.")
    first = next(part for parts in subjects.values() for part in parts)
    stated = {name: value for name, value in dataclasses.asdict(about).items() if value is not None}
    modality = about.modality or modality_of(first)
    facts = {"name": "imported", **facts, **stated, "modality": modality}
    info = StudyInfo(**facts, sfreq=first.sfreq, tmin=first.tmin)
    notes: list[str] = []
    rows: dict[str, list[np.ndarray]] = {}
    tables: dict[str, pd.DataFrame] = {}
    unnamed = incomplete = 0
    for subject, parts in subjects.items():
        found = []
        for part in parts:
            _check_times(part, first)
            table = trial_table(part.table, part.table_where, images, trials, part.session)
            unnamed += len(part.table) - len(table)
            if part.incomplete is not None:
                kept = ~part.incomplete[table.index]
                incomplete += int((~kept).sum())
                table = table[kept]
            found.append(table)
        if not any(map(len, found)):
            total = sum(len(part.table) for part in parts)
            raise InputError(
                f"None of the {total} trials of {subject} can be used ({parts[0].table_where} is the first table); "
                "expected trials that name an image and lie inside the recording."
            )
        _check_images(found, parts, images)
        rows[subject] = [table.index.to_numpy() for table in found]
        tables[subject] = join_tables(found)
    if unnamed:
        notes.append(f"{unnamed} trials name no image and are left out.")
    if incomplete:
        notes.append(f"{incomplete} trials touch an end of the recording or a segment marked bad and are left out.")
    if trials.test_concepts:
        draw_test_concepts(tables, trials.test_concepts, trials.seed)
    channels = _choose_channels(subjects, common_channels, notes)
    shapes = [(len(tables[name]), len(channels[name]), first.n_times) for name in subjects]
    memory = max(part.memory for parts in subjects.values() for part in parts)
    check_room(out, sum(4 * int(np.prod(shape)) for shape in shapes), memory + 4 * BLOCK_BYTES)
    if not quiet:
        for note in notes:
            messages.print(f"Note: {note}", markup=False, highlight=False, soft_wrap=True)
    with progress(quiet) as bar:
        recordings = (
            RecordingData(
                subject,
                _blocks(subject, parts, rows[subject], channels[subject], bar),
                tables[subject],
                channels[subject],
            )
            for subject, parts in subjects.items()
        )
        return create_study(out, info, recordings, images, trials.allow_shared_concepts)


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


def _check_times(part: Part, first: Part) -> None:
    for what, mine, theirs, hint in (
        ("sampling rate", part.sfreq, first.sfreq, "resample to one rate"),
        ("first sample (s)", part.tmin, first.tmin, "choose a window that both have"),
        ("number of samples", part.n_times, first.n_times, "choose a window that both have"),
    ):
        if mine != theirs and (mine is None or theirs is None or not np.isclose(mine, theirs)):
            raise InputError(f"The {what} of {part.where} is {mine:g}, of {first.where} {theirs:g}; {hint}.")


def _check_images(tables: Sequence[pd.DataFrame], parts: Sequence[Part], images: Path) -> None:
    """All images named are there, said before any signal is read."""
    for table, part in zip(tables, parts, strict=True):
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


def _choose_channels(subjects: Mapping[str, Sequence[Part]], common: bool, notes: list[str]) -> dict[str, pd.DataFrame]:
    """The channels of every subject."""
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


def _blocks(
    subject: str, parts: Sequence[Part], rows: Sequence[np.ndarray], channels: pd.DataFrame, bar: Progress
) -> Iterator[np.ndarray]:
    task = bar.add_task(f"{subject}, trials", total=sum(map(len, rows)))
    names = list(channels["name"])
    for part, wanted in zip(parts, rows, strict=True):
        done = 0
        for block in part.read(wanted, names) if len(wanted) else ():
            with np.errstate(over="ignore"):
                block = block if block.dtype == np.float16 else np.asarray(block, np.float32)
            bad = ~np.isfinite(block)
            if bad.any():
                i, c, t = np.argwhere(bad)[0]
                raise InputError(
                    f"{part.where}: trial {wanted[done + i]} (counted from 0), channel {names[c]!r}, holds "
                    f"{block[i, c, t]}; expected finite numbers."
                )
            yield block
            done += len(block)
            bar.advance(task, len(block))
