"""Rules that hold over all recordings of a study."""

import os
from collections.abc import Mapping
from pathlib import Path

from ubp.data.recording import Recording
from ubp.data.tables import SPLITS
from ubp.errors import InputError
from ubp.files import inside


def check_trials(root: Path, recordings: Mapping[str, Recording], allow_shared_concepts: bool) -> dict[str, str]:
    """Check that an image has one concept, that both splits exist, and that nothing is in both.

    Returns
    -------
    dict of str to str
        Concept of every image.

    Raises
    ------
    InputError
        Names file, row and rule.
    """
    concepts: dict[str, str] = {}
    # (split, kind, name) -> subject who has it first
    seen: dict[tuple[str, str, str], str] = {}
    for subject, recording in recordings.items():
        unique = recording.trials[["image", "concept", "split"]].drop_duplicates()
        for row, image, concept, split in unique.itertuples(name=None):
            where = f"{recording.folder / 'trials.csv'}, row {row}"
            if concepts.setdefault(image, concept) != concept:
                raise InputError(
                    f"{where}: the image {image!r} has the concept {concept!r} and elsewhere {concepts[image]!r}; "
                    "expected one concept per image."
                )
            other = "test" if split == "train" else "train"
            for kind, name in (("image", image), ("concept", concept)):
                if (other, kind, name) in seen and not (kind == "concept" and allow_shared_concepts):
                    raise InputError(
                        f"{where}: the {kind} {name!r} is in {split} here and in {other} of {seen[other, kind, name]}; "
                        f"expected each {kind} in train or in test only"
                        + (", unless shared concepts are allowed." if kind == "concept" else ".")
                    )
                seen.setdefault((split, kind, name), subject)
    for split in SPLITS:
        if not any(found == split for found, _, _ in seen):
            raise InputError(f"{root} has no {split} split; expected trials with split {split} in some trials.csv.")
    return concepts


def check_images_exist(folder: Path, recordings: Mapping[str, Recording]) -> None:
    """Check that every image is a file below `folder`.

    One listing per folder: asking for the 16740 files of THINGS one by one takes seconds.

    Raises
    ------
    InputError
        Names the row of trials.csv and the image.
    """
    listings: dict[str, dict[str, bool]] = {}
    known: set[str] = set()
    for recording in recordings.values():
        new = recording.trials["image"].drop_duplicates()
        for row, image in zip(new.index, new, strict=True):
            if image in known:
                continue
            known.add(image)
            try:
                parent, name = os.path.split(image)
                if parent not in listings:
                    inside(folder, image)
                    listings[parent] = _list_files(folder / parent)
                if name not in listings[parent]:
                    raise InputError(f"{inside(folder, image)} does not exist; expected the image {image!r} there.")
                if listings[parent][name]:
                    inside(folder, image)
            except InputError as error:
                raise InputError(f"{recording.folder / 'trials.csv'}, row {row}: {error}") from error


def _list_files(folder: Path) -> dict[str, bool]:
    """Names of the files in `folder`, and whether each is a symbolic link."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.is_symlink() for entry in entries if entry.is_file()}
