"""A study: one folder of signals, tables and images, the only thing later stages know about data."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from ubp.data.checks import check_images_exist, check_trials
from ubp.data.info import MODALITIES, StudyInfo, read_info
from ubp.data.recording import Recording, is_constant
from ubp.data.tables import SPLITS
from ubp.data.trials import Trials
from ubp.data.writing import SUBJECT, ImageSource, RecordingData, write_images, write_recordings
from ubp.errors import InputError
from ubp.files import atomic_folder, digest, inside, write_json
from ubp.images.load import load_image

__all__ = ["MODALITIES", "Recording", "RecordingData", "Study", "StudyInfo", "Trials", "create_study"]


@dataclass(frozen=True, eq=False)
class Study:
    """An opened study folder; `Study.open` makes one.

    Parameters
    ----------
    root : Path
        The folder.
    info : StudyInfo
        What dataset.json says.
    recordings : mapping of str to Recording
        By subject, sorted.
    concepts : mapping of str to str
        Concept of every image.
    """

    root: Path
    info: StudyInfo
    recordings: Mapping[str, Recording]
    concepts: Mapping[str, str]

    @classmethod
    def open(cls, path: str | Path, allow_shared_concepts: bool = False) -> "Study":
        """Open a study and check it cheaply: descriptions, tables, headers, sizes, splits, and that images exist.

        Parameters
        ----------
        path : str or Path
            The folder.
        allow_shared_concepts : bool
            Accept concepts that occur in train and test; the same image in both is refused all the same.

        Raises
        ------
        InputError
            Names the file, the row (counted from 0) and the rule.
        """
        root = Path(path)
        if not root.is_dir():
            raise InputError(f"{root} is not a folder; expected a study folder with a dataset.json in it.")
        info = read_info(root / "dataset.json")
        folders = sorted(folder for folder in root.iterdir() if SUBJECT.fullmatch(folder.name) and folder.is_dir())
        if not folders:
            raise InputError(f"{root} has no recording; expected folders named sub-01 and the like.")
        recordings = {folder.name: Recording.open(folder, info.sfreq, info.tmin) for folder in folders}
        concepts = check_trials(root, recordings, allow_shared_concepts)
        study = cls(root, info, MappingProxyType(recordings), MappingProxyType(concepts))
        check_images_exist(study.image_folder, recordings)
        return study

    @property
    def subjects(self) -> tuple[str, ...]:
        """Sorted names of the subjects."""
        return tuple(self.recordings)

    @property
    def image_folder(self) -> Path:
        """Folder of the images."""
        return inside(self.root, self.info.image_root)

    def recording(self, subject: str) -> Recording:
        """The recording of one subject.

        Raises
        ------
        InputError
            When there is none.
        """
        if subject not in self.recordings:
            raise InputError(f"{self.root} has no subject {subject!r}; expected one of {', '.join(self.subjects)}.")
        return self.recordings[subject]

    def images(self, split: str | None = None) -> tuple[str, ...]:
        """Sorted names of the images of all subjects, or of those in one split."""
        if split is not None and split not in SPLITS:
            raise InputError(f"The split {split!r} is unknown; expected 'train' or 'test'.")
        names: set[str] = set()
        for recording in self.recordings.values():
            table = recording.trials
            names.update((table if split is None else table[table["split"] == split])["image"].unique())
        return tuple(sorted(names))

    def image_path(self, image: str) -> Path:
        """Path of an image.

        Raises
        ------
        InputError
            When the path leaves the image folder.
        """
        return inside(self.image_folder, image)

    def validate(self) -> None:
        """Read everything once: all signals are finite, no recording is constant, and every image decodes.

        Raises
        ------
        InputError
            Names the file, and the trial and channel.
        """
        for recording in self.recordings.values():
            recording.raise_not_finite()
            if recording.signals[:, 0, 0].size > 1 and is_constant(recording.signals):
                raise InputError(f"{recording.path} is constant in every channel; expected signals that change.")
        for image in self.images():
            load_image(self.image_path(image), size=8)

    def describe(self) -> pd.DataFrame:
        """One row per subject: counts of sessions, trials, channels, samples, and of each split's images.

        `train_repetitions` and `test_repetitions` are texts such as "4" or "6-10", fewest to most trials of one image.
        """
        rows = []
        for subject, recording in self.recordings.items():
            table, (n_trials, n_channels, n_times) = recording.trials, recording.header.shape
            row: dict[str, object] = {"subject": subject, "sessions": table["session"].nunique(), "trials": n_trials}
            row |= {"channels": n_channels, "times": n_times}
            for split in SPLITS:
                part = table[table["split"] == split]
                counts = part["image"].value_counts().to_numpy()
                low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
                row[f"{split}_images"] = len(counts)
                row[f"{split}_concepts"] = part["concept"].nunique()
                row[f"{split}_repetitions"] = str(low) if low == high else f"{low}-{high}"
            rows.append(row)
        return pd.DataFrame(rows)

    def fingerprint(self, subjects: Iterable[str] | None = None) -> str:
        """SHA-256 of dataset.json and the fingerprints of the subjects' recordings, by default all.

        Tells whether a model was trained on this study.
        """
        parts = [self.recording(subject).fingerprint() for subject in (subjects or self.subjects)]
        return digest((self.root / "dataset.json").read_bytes(), *parts)


def create_study(
    path: str | Path,
    info: StudyInfo,
    recordings: Iterable[RecordingData],
    images: ImageSource,
    allow_shared_concepts: bool = False,
) -> Study:
    """Write a study folder that is either complete and opens, or absent.

    Parameters
    ----------
    path : str or Path
        The new folder.
    info : StudyInfo
        Becomes dataset.json.
    recordings : iterable of RecordingData
        Taken one at a time, so a study may be larger than memory.
    images : folder, mapping of name to bytes or file, or function of the name
        Where the images come from; those named in the trials are copied.
    allow_shared_concepts : bool
        As in `Study.open`.

    Raises
    ------
    InputError
        When `path` exists, or the study breaks a rule of `Study.open`, or holds NaN or infinity.
    UbpError
        When the disk is full.
    """
    path = Path(path)
    with atomic_folder(path) as partial:
        try:
            write_json(partial / "dataset.json", dataclasses.asdict(info))
            shown = dict.fromkeys(write_recordings(partial, recordings))
            write_images(inside(partial, info.image_root), shown, images)
            Study.open(partial, allow_shared_concepts)
        except InputError as error:
            raise InputError(str(error).replace(str(partial), str(path))) from error
    return Study.open(path, allow_shared_concepts)
