"""Make studies of recordings of any kind, and files of mne of studies."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ubp.commands.data import announce
from ubp.data import import_arrays as arrays
from ubp.data import import_bids as bids
from ubp.data import import_epochs as epochs
from ubp.data.bids_files import BidsSelection
from ubp.data.bids_run import CutOptions
from ubp.data.import_options import About, SignalOptions, TrialOptions
from ubp.data.study import Study
from ubp.data.to_epochs import export_study
from ubp.description import DESCRIPTION
from ubp.errors import InputError
from ubp.progress import say


def import_epochs(
    files: Sequence[Path],
    out: Path,
    images: Path,
    subjects: Sequence[str] | None = None,
    trials: TrialOptions | None = None,
    signals: SignalOptions | None = None,
    about: About | None = None,
    quiet: bool = False,
) -> Study:
    """Make a study of files of epochs; see :func:`ubp.data.import_epochs.import_epochs`."""
    sources = by_subject(files, subjects)
    return announce(epochs.import_epochs(sources, out, images, trials, signals, about, quiet=quiet))


def import_bids(
    root: Path,
    out: Path,
    images: Path | None = None,
    selection: BidsSelection | None = None,
    subjects: Sequence[str] | None = None,
    trials: TrialOptions | None = None,
    signals: SignalOptions | None = None,
    cut: CutOptions | None = None,
    about: About | None = None,
    quiet: bool = False,
) -> Study:
    """Make a study of a BIDS dataset; see :func:`ubp.data.import_bids.import_bids`."""
    return announce(bids.import_bids(root, out, images, selection, subjects, trials, signals, cut, about, quiet=quiet))


def import_arrays(
    signals: Sequence[Path],
    trials: Sequence[Path],
    out: Path,
    images: Path,
    channels: Sequence[Path] = (),
    subjects: Sequence[str] | None = None,
    options: TrialOptions | None = None,
    about: About | None = None,
    sfreq: float | None = None,
    tmin: float | None = None,
    quiet: bool = False,
) -> Study:
    """Make a study of arrays and tables; see :func:`ubp.data.import_arrays.import_arrays`."""
    sources = by_subject(signals, subjects)
    tables = _for_each("trials", trials, list(sources))
    described = _for_each("channels", channels, list(sources)) if channels else None
    study = arrays.import_arrays(
        sources,
        tables,
        out,
        images,
        described,
        options,
        about,
        sfreq=sfreq,
        tmin=tmin,
        quiet=quiet,
    )
    return announce(study)


def export(
    path: Path,
    out: Path,
    subjects: Sequence[str] | None = None,
    split: str | None = None,
    allow_shared_concepts: bool = False,
    quiet: bool = False,
) -> list[Path]:
    """Write a study as epochs of mne; see :func:`ubp.data.to_epochs.export_study`."""
    if (path / DESCRIPTION).exists():
        raise InputError(f"{path} is a model and no study; use `ubp export-model` for that.")
    files = export_study(Study.open(path, allow_shared_concepts), out, subjects, split, quiet=quiet)
    say(f"{out}: {len(files)} files of epochs; `mne.read_epochs({str(files[0])!r})` opens one.")
    return files


def by_subject(files: Sequence[Path], subjects: Sequence[str] | None = None) -> dict[str, Path]:
    """Files by the subjects named; else by the names that all files begin with, if they differ; else by number.

    Raises
    ------
    InputError
        When there is not one name per file.
    """
    found = [re.match(r"sub-[A-Za-z0-9]+", file.name) for file in files]
    names = [match.group() for match in found if match]
    if subjects:
        names = list(subjects)
    elif len(set(names)) < len(files):
        names = [f"sub-{number:02d}" for number in range(1, len(files) + 1)]
    if len(names) != len(files) or len(set(names)) != len(files):
        raise InputError(f"There are {len(files)} files and {len(set(names))} subjects; name one subject per file.")
    return dict(zip(names, files, strict=True))


def _for_each(what: str, tables: Sequence[Path], subjects: Sequence[str]) -> Mapping[str, Path]:
    if len(tables) not in (1, len(subjects)):
        raise InputError(
            f"There are {len(tables)} tables of {what} and {len(subjects)} files of signals; expected one for each, or "
            "one for all."
        )
    return dict(zip(subjects, list(tables) * (len(subjects) if len(tables) == 1 else 1), strict=True))
