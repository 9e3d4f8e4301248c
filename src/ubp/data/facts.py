"""What is published about the datasets; files are checked against it, and the fact that fails is named."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ubp.errors import InputError


@dataclass(frozen=True)
class Conditions:
    """What was shown in one split.

    Parameters
    ----------
    concepts : int
        Number of concepts.
    images_per_concept : int
        Each image is a condition.
    repetitions : int
        Presentations of an image to a subject, over all sessions.
    session_repetitions : int
        Presentations of an image in a session in which it is shown.
    """

    concepts: int
    images_per_concept: int
    repetitions: int
    session_repetitions: int

    @property
    def count(self) -> int:
        """Number of conditions."""
        return self.concepts * self.images_per_concept


@dataclass(frozen=True)
class DatasetFacts:
    """One dataset as its authors describe it.

    Parameters
    ----------
    name, title, modality, licence, citation, source : str
        For dataset.json and for people.
    subjects, sessions : tuple of str
        Names of folders.
    sfreq : float
        Of the recordings, Hz.
    n_channels : int
        Channels of brain signals.
    channels : tuple of str
        Their names in the published order; empty where there is no list.
    train, test : Conditions
        What was shown.
    """

    name: str
    title: str
    modality: str
    licence: str
    citation: str
    source: str
    subjects: tuple[str, ...]
    sessions: tuple[str, ...]
    sfreq: float
    n_channels: int
    channels: tuple[str, ...]
    train: Conditions
    test: Conditions

    def conditions(self, split: str) -> Conditions:
        """Those of "train" or "test"."""
        return {"train": self.train, "test": self.test}[split]

    def check(self, what: str, found: object, expected: object, where: Path) -> None:
        """Compare a number found in a file with the published one.

        Raises
        ------
        InputError
            Names file, fact and both values.
        """
        if found != expected:
            raise InputError(f"{where} has {found} {what}; {self.title} has {expected}.")

    def check_subjects(self, subjects: Collection[str], where: Path) -> None:
        """Check that there is a subject, and none that the dataset does not have.

        Raises
        ------
        InputError
            Names the first that is unknown.
        """
        unknown = [subject for subject in subjects if subject not in self.subjects]
        if unknown:
            raise InputError(
                f"The subject {unknown[0]!r} is not in {self.title}; "
                f"expected {self.subjects[0]} to {self.subjects[-1]}."
            )
        if not subjects:
            raise InputError(f"{where} has no subject; expected folders {self.subjects[0]} to {self.subjects[-1]}.")


def _numbered(prefix: str, count: int, width: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number:0{width}d}" for number in range(1, count + 1))


_THINGS_EEG2_CHANNELS = """
Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 FT10 T7 C5 C3 C1
Cz C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2
"""

THINGS_EEG2 = DatasetFacts(
    name="things-eeg2",
    title="THINGS-EEG2",
    modality="eeg",
    licence="CC BY 4.0",
    citation="Gifford, Dwivedi, Roig, Cichy (2022). A large and rich EEG dataset for modeling human visual object "
    "recognition. NeuroImage 264:119754.",
    source="https://osf.io/3jk45",
    subjects=_numbered("sub-", 10, 2),
    sessions=_numbered("ses-", 4, 2),
    sfreq=1000.0,
    n_channels=63,
    channels=tuple(_THINGS_EEG2_CHANNELS.split()),
    train=Conditions(concepts=1654, images_per_concept=10, repetitions=4, session_repetitions=2),
    test=Conditions(concepts=200, images_per_concept=1, repetitions=80, session_repetitions=20),
)

# after the concepts of the test images are taken out of the training images
THINGS_MEG = DatasetFacts(
    name="things-meg",
    title="THINGS-MEG",
    modality="meg",
    licence="CC0",
    citation="Hebart, Contier, Teichmann et al. (2023). THINGS-data, a multimodal collection of large-scale datasets "
    "for investigating object representations in human brain and behavior. eLife 12:e82580.",
    source="https://openneuro.org/datasets/ds004212",
    subjects=_numbered("P", 4, 1),
    sessions=_numbered("ses-", 12, 2),
    sfreq=200.0,
    n_channels=271,
    channels=(),
    train=Conditions(concepts=1654, images_per_concept=12, repetitions=1, session_repetitions=1),
    test=Conditions(concepts=200, images_per_concept=1, repetitions=12, session_repetitions=1),
)

DATASETS = {facts.name: facts for facts in (THINGS_EEG2, THINGS_MEG)}
