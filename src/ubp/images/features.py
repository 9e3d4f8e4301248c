"""FeatureStore: a unit vector for every image at every level, made once and found by content."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from torch import Tensor

from ubp.errors import InputError
from ubp.files import disk_errors, inside, locked, write_json
from ubp.images.blur import Blur
from ubp.images.encode import Compute, encode_levels
from ubp.images.encoders import ImageEncoder
from ubp.images.ladder import neighbours
from ubp.images.levels import Bank, Level, Mean, stored_levels
from ubp.images.manifest import DTYPES, MANIFEST, hash_images, make_manifest, read_manifest
from ubp.images.partial_rows import clear_work, has_idle_work
from ubp.images.pipeline import Sources, check_levels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureStore:
    """Vectors of images at levels, in one folder: ``manifest.json`` and ``<level name>.npy`` per level.

    Each level file is of shape (n_images, dim) and the store's dtype, rows in the order of `images`, every row of
    length 1. Whatever the dtype, vectors are read as float32. Make one with `build` or `open`.

    Attributes
    ----------
    folder : Path
        ``<root>/<key>``.
    key : str
        Digest of the images' names and bytes, the encoder's fingerprint, the code version of the transform and the
        dtype. Levels are added to a store under their names, which hold every parameter.
    images : tuple of str
        Sorted, relative to the image folder.
    dim : int
        Length of a vector.
    encoder_name : str
        For people.
    encoder_fingerprint : str
        Digest of the encoder's weights and preprocessing.
    encoder_size, encoder_interpolation : int, str
        Height and width in pixels of the images it takes, and how they are brought to that.
    dtype : str
        Of the level files, a key of `ubp.images.manifest.DTYPES`.
    computed : tuple of str
        Names of the levels that this `build` had to compute; empty when there was nothing to do.
    """

    folder: Path
    key: str
    images: tuple[str, ...]
    dim: int
    encoder_name: str
    encoder_fingerprint: str
    encoder_size: int
    encoder_interpolation: str
    dtype: str = "float32"
    computed: tuple[str, ...] = ()

    @classmethod
    def build(
        cls,
        image_folder: Path,
        images: Sequence[str],
        encoder: ImageEncoder,
        ladder: Sequence[Level],
        root: Path | None = None,
        batch_size: int = 32,
        quiet: bool = False,
        checkpoint_seconds: float = 1.0,
        dtype: str = "float32",
        compute: Compute = encode_levels,
    ) -> "FeatureStore":
        """Find the store of these images and this encoder, and compute the levels it lacks.

        Each image is read and decoded once for all missing levels. A run that is stopped, in whatever way, keeps what
        it finished, and the same call continues there; on the cpu its files are the same bytes as without the stop.
        Two processes that need the same store do the work once: the second waits.

        Parameters
        ----------
        image_folder : Path
            What `images` are relative to.
        images : sequence of str
            Order and duplicates do not matter.
        encoder : ImageEncoder
            See `ubp.images.encoders.image_encoder`.
        ladder : sequence of Level
            The levels; widths are in pixels of the encoder's size.
        root : Path, optional
            Folder of all stores; default ``$UBP_CACHE``, or the user's cache folder of this platform.
        batch_size : int
            Images per block; a block is decoded while the one before is encoded.
        quiet : bool
            No progress bar. Without a terminal there is none anyway.
        checkpoint_seconds : float
            How much work a stop may cost at most, beside the blocks in hand.
        dtype : {"float32", "float16"}
            Of the level files; with float16 they take half the room, and a cosine moves by up to 1e-3.
        compute : callable
            What makes the level files; by default this process, see `ubp.images.on_ray` for many machines.

        Raises
        ------
        InputError
            When an image cannot be used or leaves the folder, the ladder or the images are empty, a level does not fit
            the encoder's size, an image has no finite vector other than zero, or the store on disk is damaged.
        UbpError
            When the disk is full or cannot be written.
        """
        if not images or not ladder or batch_size < 1:
            raise InputError(
                f"A feature store got {len(images)} images, {len(ladder)} levels and batch size {batch_size}; "
                "expected at least one of each."
            )
        if dtype not in DTYPES:
            raise InputError(f"The dtype {dtype!r} of a feature store is unknown; expected {' or '.join(DTYPES)}.")
        levels = stored_levels(ladder)
        check_levels(levels, encoder.size)
        names = sorted(set(images))
        for name in names:
            inside(Path(image_folder), name)
        sources = Sources(Path(image_folder), names, hash_images(Path(image_folder), names))
        manifest = make_manifest(dict(zip(names, sources.sha256, strict=True)), encoder, dtype)
        folder = (default_root() if root is None else Path(root)) / manifest["key"]
        wanted = {level.name: level for level in levels}
        computed: tuple[str, ...] = ()
        is_new = False

        def waiting() -> None:
            log.warning("Another process is building %s; waiting for it to end.", folder)

        def missing() -> dict[str, Level]:
            return {name: level for name, level in wanted.items() if not (folder / f"{name}.npy").exists()}

        if missing() or not (folder / MANIFEST).exists() or has_idle_work(folder):
            with disk_errors(folder), locked(folder / ".lock", waiting):
                if (folder / MANIFEST).exists():
                    cls.open(folder)
                else:
                    for leftover in folder.glob(f"{MANIFEST}.*"):
                        leftover.unlink()
                    write_json(folder / MANIFEST, manifest)
                    is_new = True
                to_do = missing()
                computed = tuple(to_do)
                if to_do:
                    compute(folder, to_do, sources, encoder, batch_size, DTYPES[dtype], quiet, checkpoint_seconds)
                clear_work(folder)
        if not computed:
            log.info("Nothing to do: %s has the levels %s.", folder, ", ".join(wanted))
        store = cls._described(folder, manifest) if is_new else cls.open(folder)
        return replace(store, computed=computed)

    @classmethod
    def open(cls, folder: Path) -> "FeatureStore":
        """Open a store; its manifest and the shape and length of every level file are checked.

        Raises
        ------
        InputError
            When the folder is not a store, or something in it is damaged.
        """
        folder = Path(folder)
        manifest = read_manifest(folder / MANIFEST)
        if manifest["key"] != folder.name:
            raise InputError(
                f"{folder} holds the store {manifest['key']}, of other images or another encoder; delete the folder "
                "and build the store again."
            )
        return cls._described(folder, manifest)

    @classmethod
    def _described(cls, folder: Path, manifest: Mapping[str, Any]) -> "FeatureStore":
        images = tuple(sorted(manifest["images"]))
        about = {f"encoder_{key}": manifest["encoder"][key] for key in ("name", "fingerprint", "size", "interpolation")}
        store = cls(folder, manifest["key"], images, manifest["dim"], dtype=manifest["dtype"], **about)
        for name in store.levels:
            store._rows(name)
        return store

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels that are there, sorted."""
        return tuple(sorted(file.stem for file in self.folder.glob("*.npy")))

    def vectors(self, level: Level, images: Sequence[str] | None = None) -> np.ndarray:
        """Unit vectors of one level.

        Parameters
        ----------
        level : Level
            One of the levels the store was built with, or a mean or bank of such.
        images : sequence of str, optional
            In any order, repeats allowed; by default all, in the order of `images`.

        Returns
        -------
        ndarray of shape (n_images, dim), float32; for a bank (n_images, n_levels, dim)

        Raises
        ------
        InputError
            When the level or an image is not in the store, or a vector is damaged.
        """
        if isinstance(level, Mean):
            parts = [self.vectors(part, images) for part in level.levels]
            return _directions(np.sum(parts, axis=0), self.folder, f"level {level.name}")
        if isinstance(level, Bank):
            return np.stack([self.vectors(part, images) for part in level.levels], axis=1)
        if level.name not in self.levels:
            raise InputError(
                f"{self.folder} has no level {level.name}; expected one of {', '.join(self.levels) or '(none yet)'}, "
                "or build the store with that level in its ladder."
            )
        rows = self._rows(level.name)
        if images is not None:
            unknown = next((image for image in images if image not in self._row_of), None)
            if unknown is not None:
                raise InputError(
                    f"{self.folder} has no image {unknown!r}; expected one of its {len(self.images)} images, "
                    "build the store with the images of this study."
                )
            rows = rows[[self._row_of[image] for image in images]]
        vectors = np.array(rows, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.abs(lengths - 1) < 1e-3).all():
            raise InputError(
                f"{self.folder / level.name}.npy holds a vector that is not of length 1, so it is damaged; "
                "delete the file and build the store again."
            )
        return vectors if rows.dtype == np.float32 else vectors / lengths

    def at(self, width: float, like: Blur | None = None, images: Sequence[str] | None = None) -> np.ndarray:
        r"""Unit vectors at a kernel width between stored ones, by linear interpolation and normalisation.

        .. math:: v(w) \propto (1 - t) v(w_0) + t v(w_1), \quad t = (w - w_0) / (w_1 - w_0)

        ``w_0`` and ``w_1`` are the nearest stored widths of one family: blurs that differ in width only, which those in
        degrees do not, as each has a sigma of its own. Width 1, the crisp images, belongs to every family. At a stored
        width these are the stored vectors. The error against direct computation is what
        ``benchmarks/ladder_interpolation.py`` measures.

        Parameters
        ----------
        width : float
            Kernel width in pixels, within the stored widths of the family.
        like : Blur, optional
            Any blur of the family; needed when the store holds several.
        images : sequence of str, optional
            As in `vectors`.

        Returns
        -------
        ndarray of shape (n_images, dim), float32

        Raises
        ------
        InputError
            When the width lies outside the stored ones, or the family is not clear; and as in `vectors`.
        """
        low, high, weight = neighbours(self.levels, width, like, str(self.folder))
        if weight == 0:
            return self.vectors(low, images)
        mixed = (1 - weight) * self.vectors(low, images).astype(np.float64) + weight * self.vectors(high, images)
        return _directions(mixed, self.folder, f"width {width:g}").astype(np.float32)

    def ladder(self, levels: Sequence[Level], images: Sequence[str] | None = None) -> Tensor:
        """Unit vectors of several levels, float32 of shape (n_levels, n_images, dim); see `vectors`."""
        return torch.from_numpy(np.stack([self.vectors(level, images) for level in levels]))

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {image: row for row, image in enumerate(self.images)}

    def _rows(self, name: str) -> np.ndarray:
        file = self.folder / f"{name}.npy"
        expected = (len(self.images), self.dim)
        try:
            rows: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
            found = f"{rows.dtype} of shape {rows.shape}"
        except (OSError, ValueError, EOFError) as error:
            rows, found = np.empty(0), f"a file that is cut short or not an array ({error})"
        if rows.shape != expected or rows.dtype != np.dtype(self.dtype):
            raise InputError(
                f"{file} holds {found}; expected {self.dtype} of shape {expected}, delete the file and build the store "
                "again."
            )
        return rows


def _directions(vectors: np.ndarray, folder: Path, where: str) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise InputError(f"{folder} has an image whose vectors cancel at {where}; expected a direction.")
    return vectors / lengths


def default_root() -> Path:
    """Folder of all stores: ``$UBP_CACHE``, or ``ubp/features`` in the user's cache folder."""
    return Path(os.environ.get("UBP_CACHE") or Path(platformdirs.user_cache_dir("ubp")) / "features")
