"""Where the downloaded recordings of a dataset lie."""

from pathlib import Path

from ubp.data.facts import DatasetFacts
from ubp.errors import InputError


def find_recordings(folder: Path, pattern: str, example: str, facts: DatasetFacts) -> Path:
    """`folder`, or the one folder in it, with files that match a pattern.

    Parameters
    ----------
    folder : Path
    pattern : str
        As of `Path.glob`.
    example : str
        A file that matches, for the message.
    facts : DatasetFacts

    Raises
    ------
    InputError
        When there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected the downloaded recordings of {facts.title} there.")
    for place in (folder, *sorted(inner for inner in folder.iterdir() if inner.is_dir())):
        if any(place.glob(pattern)):
            return place
    raise InputError(f"{folder} has no file {example} or the like; `ubp fetch {facts.name}` brings them.")
