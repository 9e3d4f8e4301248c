"""The images of THINGS datasets: which condition shows which image, and where that image lies on this disk.

Releases name folders and files differently (`training_images` or `train_images`, `00001_aardvark` or `aardvark`,
`.jpg` or `.png`), so an image is known by its concept and the stem of its file name.
"""

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from ubp.data.facts import DatasetFacts
from ubp.data.pickles import read_pickle
from ubp.errors import InputError
from ubp.files import inside

METADATA = "image_metadata.npy"
FOLDERS = {"train": "training_images", "test": "test_images"}
SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_FILES = 1_000_000


def concept_name(folder: str) -> str:
    """Name of a concept from that of its folder: "00001_aardvark" is "aardvark"."""
    return re.sub(r"^\d+_", "", folder)


def image_key(image: str) -> tuple[str, str]:
    """Concept and stem of an image's path, in small letters; "x/00001_aardvark/aardvark_01b.jpg" -> that pair."""
    path = Path(image)
    return concept_name(path.parent.name).lower().replace(" ", "_"), path.stem.lower()


class ImageFolder:
    """The images below a folder, found by concept and stem.

    Raises
    ------
    InputError
        When the folder is absent or holds no image.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; expected the images of THINGS there.")
        self.files: dict[tuple[str, str], list[str]] = defaultdict(list)
        count = 0
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                    image = (Path(parent) / name).relative_to(folder).as_posix()
                    self.files[image_key(image)].append(image)
                    count += 1
            if count > MAX_FILES:
                raise InputError(f"{folder} holds more than {MAX_FILES} images; expected the folder of THINGS images.")
        if not count:
            raise InputError(f"{folder} holds no image; unpack the archives of images there.")

    def match(self, images: Iterable[str]) -> dict[str, Path]:
        """The file of each image.

        Raises
        ------
        InputError
            Lists the images that no file, or more than one, can be.
        """
        found: dict[str, Path] = {}
        missing, double = [], []
        for image in images:
            files = self.files.get(image_key(image), [])
            if image in files or len(files) == 1:
                found[image] = self.folder / (image if image in files else files[0])
            elif files:
                double.append(f"{image} ({', '.join(files[:2])})")
            else:
                missing.append(image)
        for names, what in ((missing, "no file"), (double, "more than one file")):
            if names:
                more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                raise InputError(
                    f"{self.folder} has {what} for {len(names)} of the images, by concept and file name: "
                    f"{', '.join(names[:5])}{more}; expected one file for each."
                )
        return found

    def listing(self, split: str) -> list[str]:
        """Images of a split in the order of their names, which is the order of the conditions."""
        parents = {FOLDERS[split], f"{split}_images"}
        return sorted(
            image for files in self.files.values() for image in files if parents & set(Path(image).parts[:-2])
        )


def find_images(given: Path | None, source: Path) -> ImageFolder:
    """The folder of images: the one given, or one of the usual places beside the recordings.

    Raises
    ------
    InputError
        When there is none.
    """
    if given is not None:
        return ImageFolder(given)
    for folder in (source / "images", source / "Image_set", source, source.parent / "images"):
        if (folder / FOLDERS["test"]).is_dir():
            return ImageFolder(folder)
    raise InputError(f"{source} has no folder images with {FOLDERS['train']} and {FOLDERS['test']}; name their folder.")


def read_conditions(places: Iterable[Path], images: ImageFolder, facts: DatasetFacts) -> dict[str, pd.DataFrame]:
    """Image and concept of every condition; condition n is row n - 1.

    From image_metadata.npy in the first of `places` that has one, else from the names in the folder of images.

    Returns
    -------
    dict of "train" and "test" to DataFrame with the columns image and concept

    Raises
    ------
    InputError
        When counts are not those of the dataset.
    """
    path = next((place / METADATA for place in places if (place / METADATA).is_file()), None)
    tables = {}
    for split in FOLDERS:
        if path is None:
            names, where = images.listing(split), images.folder
        else:
            metadata, where = read_pickle(path), path
            folders, files = (metadata.texts(f"{split}_img_{what}") for what in ("concepts", "files"))
            facts.check(f"entries in {split}_img_files", len(files), len(folders), path)
            names = [f"{FOLDERS[split]}/{folder}/{file}" for folder, file in zip(folders, files, strict=True)]
            for name in names:
                inside(images.folder, name)
        tables[split] = condition_table(names, split, facts, where)
    return tables


def condition_table(images: list[str], split: str, facts: DatasetFacts, where: Path) -> pd.DataFrame:
    """Table of image and concept, checked against the dataset.

    Raises
    ------
    InputError
        When counts are not those of the dataset, or an image is listed twice.
    """
    expected = facts.conditions(split)
    table = pd.DataFrame({"image": images, "concept": [concept_name(Path(image).parent.name) for image in images]})
    facts.check(f"{split} images", len(table), expected.count, where)
    facts.check(f"different {split} images", table["image"].nunique(), expected.count, where)
    facts.check(f"{split} concepts", table["concept"].nunique(), expected.concepts, where)
    return table


def place_images(folder: Path, files: Mapping[str, Path], link: bool) -> None:
    """Put each file into `folder` under its name: as a hard link where asked for and possible, else as a copy."""
    made: set[Path] = set()
    for image, source in files.items():
        target = folder / image
        # once per folder: it follows links, which takes seconds for all images of THINGS
        if target.parent not in made or target.name == "..":
            inside(folder, image).parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        if link:
            try:
                os.link(source.resolve(), target)
                continue
            except OSError:
                pass  # another disk, or a file system without links
        shutil.copyfile(source, target)
