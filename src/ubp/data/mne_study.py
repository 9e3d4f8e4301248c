"""Between mne and a study: epochs with a metadata table become a study, a recording becomes epochs again."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ubp.config import unknown
from ubp.data.recording import Recording
from ubp.data.study import RecordingData, Study, StudyInfo, create_study
from ubp.data.tables import SPLITS
from ubp.errors import InputError

if TYPE_CHECKING:
    import mne

BLOCK = 256  # epochs read at a time
MODALITY = {"eeg": "eeg", "mag": "meg", "grad": "meg", "seeg": "eeg", "ecog": "eeg"}


def import_epochs(
    sources: "Mapping[str, Path | str | mne.BaseEpochs]",
    out: Path | str,
    images: Path | str,
    *,
    image: str = "image",
    concept: str | None = None,
    split: str | None = "split",
    session: str | None = None,
    n_test_concepts: int | None = None,
    seed: int = 0,
    name: str = "imported",
    licence: str = "",
    citation: str = "",
) -> Study:
    """Write a study from epochs whose metadata names the image of each trial.

    Signals stay in mne's units (volts, tesla) as float32; bad channels are kept, with their names. Memory holds one
    block of epochs, where the epochs are on disk.

    Parameters
    ----------
    sources : mapping of subject to epochs or a `-epo.fif` file
        Subjects are named sub-01 and the like.
    out : path
        The new study.
    images : path
        Folder that the names in the metadata are relative to.
    image : str
        Metadata column with the image's path.
    concept : str, optional
        Column with the concept; by default the folder of the image, or its file name where it has none.
    split : str, optional
        Column with `train` or `test`; used when `n_test_concepts` is not given.
    session : str, optional
        Column with the session; by default one session.
    n_test_concepts : int, optional
        Put so many concepts, chosen at random, into the test split.
    seed : int
        Of that choice.
    name, licence, citation : str
        For dataset.json.

    Raises
    ------
    InputError
        When a file is not epochs, metadata or a column is missing, rates or windows differ, or the study breaks a
        rule of :func:`ubp.data.study.create_study`.
    """
    if not sources:
        raise InputError("There are no epochs to import; expected at least one file.")
    epochs = {subject: _open(source) for subject, source in sources.items()}
    tables = {subject: _trials(subject, epo, image, concept, session) for subject, epo in epochs.items()}
    _split(tables, epochs, None if n_test_concepts else split, n_test_concepts, seed)
    first = next(iter(epochs.values()))
    for subject, epo in epochs.items():
        for what, mine, theirs in (
            ("sampling rate", epo.info["sfreq"], first.info["sfreq"]),
            ("first sample (s)", epo.times[0], first.times[0]),
            ("number of samples", len(epo.times), len(first.times)),
        ):
            if not np.isclose(mine, theirs):
                raise InputError(
                    f"The {what} of {subject} is {mine:g}, of {next(iter(epochs))} {theirs:g}; make them equal."
                )
    kinds = first.get_channel_types(picks=_picks(first))
    info = StudyInfo(
        name=name,
        modality=next((MODALITY[kind] for kind in kinds if kind in MODALITY), "eeg"),
        sfreq=float(first.info["sfreq"]),
        tmin=float(first.times[0]),
        licence=licence,
        citation=citation,
        source="epochs of mne",
    )
    recordings = (
        RecordingData(subject, _blocks(epo), tables[subject], sensors(epo, _picks(epo)))
        for subject, epo in epochs.items()
    )
    return create_study(out, info, recordings, Path(images))


def _open(source: "Path | str | mne.BaseEpochs") -> "mne.BaseEpochs":
    import mne

    if isinstance(source, mne.BaseEpochs):
        return source
    if not Path(source).is_file():
        raise InputError(f"{source} does not exist; expected a file of mne epochs, such as sub-01-epo.fif.")
    try:
        return mne.read_epochs(source, preload=False, verbose="error")
    except (ValueError, OSError, RuntimeError, AttributeError, TypeError) as error:
        raise InputError(f"{source} is not a file of mne epochs ({error}).") from error


def _trials(
    subject: str, epochs: "mne.BaseEpochs", image: str, concept: str | None, session: str | None
) -> pd.DataFrame:
    metadata = epochs.metadata
    if metadata is None:
        raise InputError(f"The epochs of {subject} have no metadata; add a table with the image of every trial.")
    for column in (image, concept, session):
        if column is not None and column not in metadata:
            raise unknown(f"metadata column of {subject}", column, map(str, metadata))
    names = metadata[image].astype(str).str.replace("\\", "/", regex=False).tolist()
    folders = [Path(item).parent.name or Path(item).stem for item in names]
    return pd.DataFrame(
        {
            "image": names,
            "concept": metadata[concept].astype(str).tolist() if concept else folders,
            "split": "",
            "repetition": pd.Series(names).groupby(names).cumcount().to_numpy(),
            "session": metadata[session].astype(str).tolist() if session else "1",
        }
    )


def _split(
    tables: dict[str, pd.DataFrame],
    epochs: "Mapping[str, mne.BaseEpochs]",
    column: str | None,
    n_test_concepts: int | None,
    seed: int,
) -> None:
    concepts = sorted({concept for table in tables.values() for concept in table["concept"]})
    if n_test_concepts:
        if not 2 <= n_test_concepts <= len(concepts) - 2:
            raise InputError(
                f"{n_test_concepts} of {len(concepts)} concepts were to be the test split; expected at least 2, and at "
                "least 2 left to train on."
            )
        test = set(np.random.default_rng(seed).permutation(concepts)[:n_test_concepts].tolist())
        for table in tables.values():
            table["split"] = np.where(table["concept"].isin(test), "test", "train")
        return
    for subject, table in tables.items():
        metadata = epochs[subject].metadata
        if column is None or column not in metadata:
            raise InputError(
                f"The metadata of {subject} has no column {column!r} with {SPLITS[0]} or {SPLITS[1]}; name the column, "
                "or say how many concepts to take as the test split."
            )
        table["split"] = metadata[column].astype(str).to_numpy()


def _blocks(epochs: "mne.BaseEpochs") -> Iterator[np.ndarray]:
    for start in range(0, len(epochs), BLOCK):
        part = epochs[start : start + BLOCK]
        yield part.get_data(picks=_picks(epochs), verbose="error").astype(np.float32)


def _picks(epochs: "mne.BaseEpochs") -> np.ndarray:
    import mne

    picks = mne.pick_types(
        epochs.info, meg=True, eeg=True, seeg=True, ecog=True, fnirs=True, dbs=True, misc=True, exclude=()
    )
    if not len(picks):
        raise InputError("The epochs have no data channel; expected EEG, MEG or the like.")
    return picks


def sensors(epochs: "mne.BaseEpochs", picks: np.ndarray) -> pd.DataFrame:
    """Content of channels.csv for some channels: name, type as mne has it, and x, y, z in metres."""
    places = np.array([epochs.info["chs"][pick]["loc"][:3] for pick in picks])
    kinds = epochs.get_channel_types(picks=picks)
    table = pd.DataFrame({"name": [epochs.ch_names[pick] for pick in picks], "type": kinds})
    return table.assign(**dict(zip("xyz", places.T, strict=True)))


def to_epochs(recording: Recording, split: str | None = None) -> "mne.EpochsArray":
    """A recording as mne epochs: metadata is trials.csv, positions are those of channels.csv.

    Parameters
    ----------
    recording : Recording
        Must have a sampling rate. Channel types that mne does not know become `misc`.
    split : {"train", "test"}, optional
        By default all trials.

    Returns
    -------
    mne.EpochsArray

    Raises
    ------
    InputError
        When the recording has no sampling rate, or the split is unknown.
    """
    import mne

    if recording.sfreq is None:
        raise InputError(f"{recording.folder} has no sampling rate, which mne needs; set sfreq in dataset.json.")
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    rows = np.arange(len(recording.trials)) if split is None else np.flatnonzero(recording.trials["split"] == split)
    known: Sequence[str] = (*MODALITY, "misc", "dbs", "hbo", "hbr")
    kinds = [kind if kind in known else "misc" for kind in recording.channels["type"].astype(str)]
    info = mne.create_info(list(recording.channel_names), recording.sfreq, kinds, verbose="error")
    if {"x", "y", "z"} <= set(recording.channels):
        places = recording.channels[["x", "y", "z"]].to_numpy(float)
        for channel, place in zip(info["chs"], places, strict=True):
            if np.isfinite(place).all():
                channel["loc"][:3] = place
    return mne.EpochsArray(
        recording.signals[rows].astype(np.float64),
        info,
        tmin=recording.tmin or 0.0,
        metadata=recording.trials.iloc[rows].reset_index(drop=True),
        verbose="error",
    )
