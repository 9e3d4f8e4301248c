"""The images a signal is looked for among: those of a study, of any folder, or of a feature store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ubp.config import Common, unknown
from ubp.data.study import Study
from ubp.data.tables import SPLITS
from ubp.description import Description
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore, default_root
from ubp.images.levels import Level, stored_levels
from ubp.images.manifest import MANIFEST

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp")
ALL = "all"


@dataclass(frozen=True, eq=False)
class ImageGallery:
    """Images with a vector each.

    Parameters
    ----------
    images : tuple of str
        Names, relative to `folder`.
    vectors : array of shape (n, dim), float32
        Unit vectors of the model's vision encoder, at the level its training images had.
    folder : Path, optional
        Where the image files are; None for a store, which holds vectors alone.
    names : dict of str to str
        Concept of each image, where it is known.
    size : int, optional
        Height and width in pixels of the images that the vision encoder takes.
    interpolation : str
        How images are brought to that, a key of `ubp.images.load.INTERPOLATIONS`.
    """

    images: tuple[str, ...]
    vectors: np.ndarray
    folder: Path | None = None
    names: dict[str, str] | None = None
    size: int | None = None
    interpolation: str = "bilinear"

    @classmethod
    def of_store(
        cls,
        store: FeatureStore,
        level: Level,
        images: tuple[str, ...] | None = None,
        folder: Path | None = None,
        names: dict[str, str] | None = None,
    ) -> "ImageGallery":
        """Some images of a feature store, by default all, at a level."""
        shown = store.images if images is None else images
        vectors = store.vectors(level, shown)
        return cls(shown, vectors, folder, names, store.encoder_size, store.encoder_interpolation)

    def select(self, images: Sequence[str]) -> "ImageGallery":
        """Some of the images."""
        row = {image: place for place, image in enumerate(self.images)}
        return replace(self, images=tuple(images), vectors=self.vectors[[row[image] for image in images]])


def open_gallery(
    where: Path | str | None,
    about: Description,
    *,
    split: str | None = None,
    encoder: str | None = None,
    common: Common = Common(),
) -> ImageGallery:
    """Find the images of a gallery, and their vectors; what is not in a feature store yet is computed and kept there.

    Parameters
    ----------
    where : path, optional
        A study, a feature store, or any folder of images, folders in it included; by default the model's own study.
    about : Description
        Of the model.
    split : {"test", "train", "all"}, optional
        Which images of a study; by default test.
    encoder : str, optional
        Where the image encoder lies now, if it was moved.
    common : Common
        Place of the feature stores, device, progress.

    Raises
    ------
    InputError
        When there are fewer than two images, one cannot be read, or the encoder is not the model's.
    """
    path = about.study_folder(where, "--gallery")
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        hint = "; it is the study the model was trained on, so say where images are with --gallery" if not where else ""
        raise InputError(f"The gallery {path} {what}; expected a study, a folder of images, or a feature store{hint}.")
    is_study = (path / "dataset.json").exists()
    if split is not None and not is_study:
        raise InputError(f"The gallery {path} is not a study and has no split {split!r}; leave the split out.")
    if is_study:
        found = _of_study(path, about, split or "test", encoder, common)
    elif (path / MANIFEST).exists():
        store = _checked(FeatureStore.open(path), about)
        found = ImageGallery.of_store(store, about.preset.base)
    else:
        images = find_images(path)
        store = _build(path, images, about, encoder, common)
        found = ImageGallery.of_store(store, about.preset.base, images, path)
    if len(found.images) < 2:
        raise InputError(f"The gallery {path} has {len(found.images)} image; expected at least 2 to rank.")
    return found


def find_images(folder: Path) -> tuple[str, ...]:
    """Sorted names of the image files in a folder and the folders in it; hidden ones are left out.

    Raises
    ------
    InputError
        When there is none.
    """
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not names:
        raise InputError(f"The gallery {folder} has no image; expected files that end in {', '.join(SUFFIXES)}.")
    return tuple(names)


def _of_study(path: Path, about: Description, split: str, encoder: str | None, common: Common) -> ImageGallery:
    if split not in (*SPLITS, ALL):
        raise unknown("split of a gallery", split, (*SPLITS, ALL))
    study = Study.open(path, allow_shared_concepts=True)
    images = study.images(None if split == ALL else split)
    if not images:
        raise InputError(f"The study {path} has no {split} image; choose another split for the gallery.")
    # all images of the study, because that is the store that training made
    store = _build(study.image_folder, study.images(), about, encoder, common)
    concepts = {image: study.concepts[image] for image in images}
    return ImageGallery.of_store(store, about.preset.base, images, study.image_folder, concepts)


def _build(
    folder: Path, images: tuple[str, ...], about: Description, encoder: str | None, common: Common
) -> FeatureStore:
    tower = image_encoder(encoder or about.vision_encoder, str(pick_device(common.device)))
    if tower.fingerprint != about.vision_fingerprint:
        raise InputError(
            f"The image encoder {encoder or about.vision_encoder} is not the one the model was trained with: its "
            "weights or preprocessing differ; say where that is with --encoder."
        )
    levels = stored_levels([about.preset.base])
    root = common.store or default_root()
    return FeatureStore.build(folder, images, tower, levels, root=root, quiet=common.quiet, dtype=common.dtype)


def _checked(store: FeatureStore, about: Description) -> FeatureStore:
    if store.encoder_fingerprint != about.vision_fingerprint:
        raise InputError(
            f"The feature store {store.folder} is of the image encoder {store.encoder_name}, not of the one the "
            f"model was trained with ({about.vision_encoder}); give the images themselves as the gallery."
        )
    return store
