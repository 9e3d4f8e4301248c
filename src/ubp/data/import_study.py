"""Recordings of any kind become a study: all is checked that can be, then signals are read and written in blocks."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from ubp.data.checks import check_trials
from ubp.data.import_options import About, TrialOptions
from ubp.data.import_parts import BLOCK_BYTES, Part, choose_channels_of, choose_trials_of, modality_of
from ubp.data.recording import Recording
from ubp.data.room import check_room
from ubp.data.study import RecordingData, Study, StudyInfo, create_study
from ubp.data.tables import SignalsHeader
from ubp.errors import InputError
from ubp.files import check_absent
from ubp.progress import messages, progress


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
    every = [part for parts in subjects.values() for part in parts]
    first = every[0]
    for part in every:
        _check_times(part, first)
    stated = {name: value for name, value in dataclasses.asdict(about).items() if value is not None}
    modality = about.modality or modality_of(first)
    info = StudyInfo(
        **{"name": "imported", **facts, **stated, "modality": modality}, sfreq=first.sfreq, tmin=first.tmin
    )
    notes: list[str] = []
    tables, rows = choose_trials_of(subjects, images, trials, notes)
    channels = choose_channels_of(subjects, common_channels, notes)
    headers = {
        subject: SignalsHeader((len(tables[subject]), len(channels[subject]), first.n_times), np.dtype(np.float32), 0)
        for subject in subjects
    }
    planned = {
        subject: Recording(out / subject, headers[subject], tables[subject], channels[subject], first.sfreq, first.tmin)
        for subject in subjects
    }
    check_trials(out, planned, trials.allow_shared_concepts)
    disk = sum(header.shape[0] * header.row_bytes for header in headers.values())
    check_room(out, disk, max(part.memory for part in every) + 4 * BLOCK_BYTES)
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


def _check_times(part: Part, first: Part) -> None:
    for what, mine, theirs, hint in (
        ("sampling rate", part.sfreq, first.sfreq, "resample to one rate"),
        ("first sample (s)", part.tmin, first.tmin, "choose a window that both have"),
        ("number of samples", part.n_times, first.n_times, "choose a window that both have"),
    ):
        if mine != theirs and (mine is None or theirs is None or not np.isclose(mine, theirs)):
            raise InputError(f"The {what} of {part.where} is {mine}, of {first.where} {theirs}; {hint}.")


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
