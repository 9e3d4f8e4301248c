"""The numbers of THINGS images, which are the events of THINGS-MEG, and where the images lie."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ubp.data.things_images import SUFFIXES, ImageFolder, concept_name
from ubp.errors import InputError

# as `ubp fetch things-meg` writes them, as THINGS has them now, and as it had them before
PATHS = (
    "metadata/01_image-level/image-paths.csv",
    "01_image-level/image-paths.csv",
    "Metadata/Image-specific/image_paths.csv",
)
CONCEPT_NUMBERS = (
    "metadata/02_object-level/image-concept-index.csv",
    "02_object-level/image-concept-index.csv",
    "Metadata/Concept-specific/image_concept_index.csv",
)
FOLDERS = ("images/object_images", "object_images", "images", "Images", "THINGS/Images")


def find_images(given: Path | None, places: Sequence[Path]) -> ImageFolder:
    """The folder of images: the one given, or a usual one in the first of `places` that has one.

    Raises
    ------
    InputError
        When there is none.
    """
    usual = (place / name for place in places for name in FOLDERS)
    folder = given or next((folder for folder in usual if folder.is_dir()), None)
    if folder is None:
        raise InputError(f"{places[0]} has no folder {FOLDERS[0]}; fetch the images of THINGS, or name their folder.")
    return ImageFolder(folder)


def read_image_numbers(places: Iterable[Path]) -> tuple[pd.DataFrame, Path]:
    """Image and concept of every image number; number n is row n - 1.

    Images are named by the folder of their concept and their file. Where the table of concept numbers lies in one of
    the same places, it is compared.

    Parameters
    ----------
    places : iterable of Path
        Folders that may hold the metadata of THINGS, or the folder THINGS.

    Returns
    -------
    table : DataFrame
        Columns image and concept.
    path : Path
        The file it is from.

    Raises
    ------
    InputError
        When there is no table of image paths, a line of it is not one, or concept numbers do not fit it.
    """
    folders = [folder for place in dict.fromkeys(places) for folder in (place, place / "THINGS")]
    path = _find(folders, PATHS)
    if path is None:
        raise InputError(f"{folders[0]} has no file {PATHS[0]}; `ubp fetch things-meg --parts metadata` brings it.")
    images = []
    for number, row in enumerate(_rows(path), start=1):
        parts = row[0].replace("\\", "/").split("/") if row else []
        if len(parts) < 2 or not row[0].lower().endswith(SUFFIXES) or {"", ".", ".."} & set(parts[-2:]):
            raise InputError(
                f"{path}, line {number}: {','.join(row)[:80]!r} is not the path of an image; expected one such as "
                "images/aardvark/aardvark_01b.jpg in every line, and no header."
            )
        images.append("/".join(parts[-2:]))
    table = pd.DataFrame({"image": images, "concept": [concept_name(image.split("/")[0]) for image in images]})
    numbers = _find(folders, CONCEPT_NUMBERS)
    if numbers is not None:
        _check_concepts(table, path, numbers)
    return table, path


def _find(folders: Iterable[Path], names: Iterable[str]) -> Path | None:
    names = tuple(names)
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            return list(csv.reader(handle))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}); fetch it again.") from error


def _check_concepts(table: pd.DataFrame, path: Path, numbers: Path) -> None:
    """Check that concept numbers and concepts are the same but for their names."""
    found = [row[0] if row else "" for row in _rows(numbers)]
    if len(found) != len(table):
        raise InputError(f"{numbers} has {len(found)} lines and {path} has {len(table)}; expected one for each image.")
    pairs = pd.DataFrame({"concept": table["concept"], "number": found})
    for column, other in (("concept", "number"), ("number", "concept")):
        counts = pairs.groupby(column)[other].nunique()
        if (counts > 1).any():
            raise InputError(
                f"{numbers} and {path} do not fit: the {column} {counts.idxmax()!r} goes with {counts.max()} "
                f"{other}s; expected tables of one release."
            )
