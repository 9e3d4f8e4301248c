"""What dataset.json says of a study."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from ubp.errors import InputError
from ubp.files import read_json

MODALITIES = ("eeg", "meg", "spikes", "fmri", "simulated")


@dataclass(frozen=True)
class StudyInfo:
    """The content of dataset.json.

    Parameters
    ----------
    name : str
        Of the study.
    modality : str
        One of `MODALITIES`.
    sfreq : float or None
        Samples per second (Hz); None where samples are not times.
    tmin : float or None
        Time of the first sample after image onset (s), or None.
    image_root : str
        Folder of the images, below the study.
    licence, citation, description, source : str
        For people.

    Raises
    ------
    InputError
        When a value is of another type or outside its range.
    """

    name: str
    modality: str
    sfreq: float | None = None
    tmin: float | None = None
    image_root: str = "images"
    licence: str = ""
    citation: str = ""
    description: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("sfreq", "tmin"):
                good = value is None or (
                    isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
                )
                expected = "a number or null"
            else:
                good, expected = isinstance(value, str), "text"
            if not good:
                raise InputError(f"The study's {field.name} is {value!r}; expected {expected}.")
        if self.modality not in MODALITIES:
            raise InputError(f"The modality {self.modality!r} is unknown; expected one of {', '.join(MODALITIES)}.")
        if self.sfreq is not None and self.sfreq <= 0:
            raise InputError(f"The study's sfreq is {self.sfreq:g} Hz; expected a number above 0, or null.")
        if not self.name:
            raise InputError("The study's name is empty; expected a short name.")


def read_info(path: Path) -> StudyInfo:
    """Read a dataset.json.

    Raises
    ------
    InputError
        When the file is absent or not JSON, a key is unknown, or name or modality is missing.
    """
    content = read_json(path, "the description of a study (dataset.json)")
    known = [field.name for field in dataclasses.fields(StudyInfo)]
    unknown = [key for key in content if key not in known]
    if unknown:
        raise InputError(f"{path} has the unknown key {unknown[0]!r}; expected only {', '.join(known)}.")
    missing = [key for key in ("name", "modality") if key not in content]
    if missing:
        raise InputError(f"{path} has no {missing[0]!r}; expected at least name and modality.")
    try:
        return StudyInfo(**content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
