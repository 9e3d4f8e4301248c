"""What a person can choose when recordings become a study: columns, splits, channels, rate, window, names."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from ubp.config import unknown
from ubp.data.info import MODALITIES
from ubp.errors import InputError

IMAGE_COLUMNS = ("stim_file", "image")  # the first is that of BIDS


@dataclass(frozen=True)
class TrialOptions:
    """Which columns of a table of trials say what, and which trials test.

    Parameters
    ----------
    image_column : str
        Column with the image's file, relative to the folder of images; by default stim_file (as in BIDS), else image.
    concept_column : str
        Column with the concept; by default `concept` where there is one, else the folder of the image, or its file
        name where it has none.
    split_column : str
        Column with train or test; not used when `test_concepts` is given.
    session_column : str
        Column with the session; by default the session of BIDS, else `session` where there is one, else one session.
    test_concepts : int
        Instead of a column: so many concepts, chosen at random, become the test split.
    seed : int
        Of that choice.
    allow_shared_concepts : bool
        Accept concepts that occur in train and test.

    Raises
    ------
    InputError
        When the number of concepts is below 2.
    """

    image_column: str | None = None
    concept_column: str | None = None
    split_column: str = "split"
    session_column: str | None = None
    test_concepts: int | None = None
    seed: int = 0
    allow_shared_concepts: bool = False

    def __post_init__(self) -> None:
        if self.test_concepts is not None and self.test_concepts < 2:
            raise InputError(f"The test split was to be {self.test_concepts} concepts; expected at least 2.")
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; expected 0 or more.")


@dataclass(frozen=True)
class SignalOptions:
    """Which signals are kept.

    Parameters
    ----------
    channels : tuple of str
        Names of channels, or types such as eeg, mag, grad, seeg; by default all brain channels (EEG, MEG, intracranial,
        fNIRS), and those of type misc where there are none.
    drop_bads : bool
        Leave out channels marked bad; a channel that is bad in one file of a subject is left out of all of them. By
        default they are kept.
    common_channels : bool
        Keep only channels that all subjects have; by default each subject keeps its own.
    resample : float
        Samples per second (Hz), at most those of the recording.
    window : tuple of float
        First and last second around image onset that are kept, both included; by default all, and -0.2 to 1 of a
        continuous recording.

    Raises
    ------
    InputError
        When the rate is not above 0, or the window is empty.
    """

    channels: tuple[str, ...] | None = None
    drop_bads: bool = False
    common_channels: bool = False
    resample: float | None = None
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.resample is not None and not 0 < self.resample < float("inf"):
            raise InputError(f"The rate to resample to is {self.resample:g} Hz; expected a number above 0.")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise InputError(f"The window {self.window[0]:g} to {self.window[1]:g} s is empty; expected first < last.")


@dataclass(frozen=True)
class About:
    """What dataset.json says of the study, instead of what the files say.

    Parameters
    ----------
    name : str
        Of the study; by default what BIDS says, else "imported".
    modality : str
        eeg, meg, spikes, fmri or simulated; by default that of the channel types.
    licence : str
        Of the recordings; by default what BIDS says.
    citation : str
        Of the recordings; by default what BIDS says.

    Raises
    ------
    InputError
        When the modality is unknown.
    """

    name: str | None = None
    modality: str | None = None
    licence: str | None = None
    citation: str | None = None

    def __post_init__(self) -> None:
        if self.modality is not None and self.modality not in MODALITIES:
            raise unknown("modality", self.modality, MODALITIES)


def chosen(*options: Any) -> str:
    """A sentence with all that differs from the defaults, for the description of a study."""
    words = [
        f"{field.name} {value}"
        for group in options
        for field in dataclasses.fields(group)
        if (value := getattr(group, field.name)) != field.default
    ]
    return f"Imported with {'; '.join(words)}." if words else ""
