"""From image files to level files: decode once, transform and encode per level, and never lose a finished block."""

import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ubp.errors import InputError
from ubp.files import read_json, sync_folder, write_json
from ubp.images.encoders import ImageEncoder
from ubp.images.levels import Level, apply_levels
from ubp.images.load import decode_image, read_image_bytes
from ubp.progress import progress

log = logging.getLogger(__name__)

PARTIAL_ROWS = ".npy.partial"

Source = tuple[str, Path, str]  # image, its file, SHA-256 of the file


def encode_levels(
    folder: Path,
    levels: Mapping[str, Level],
    sources: Sequence[Source],
    encoder: ImageEncoder,
    batch_size: int,
    quiet: bool,
    checkpoint_seconds: float,
) -> None:
    """Write ``<level name>.npy`` into `folder` for every level, through ``folder/work``, continuing what is there.

    The levels share the decoding and what `apply_levels` shares; each is encoded in a call of its own.

    Parameters
    ----------
    folder : Path
        Exists, and nobody else writes there.
    levels : mapping of name to Level
    sources : sequence of (image, file, SHA-256)
        Rows of the result are in this order.

    Raises
    ------
    InputError
        When an image cannot be decoded, changed since it was hashed, or has no finite vector other than zero.
    """
    work = folder / "work"
    work.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        rows = PartialRows(work, list(levels), (len(sources), encoder.dim), stack)
        start = min(rows.done.values())
        if start:
            log.info("Continuing %s after %d of %d images.", folder, start, len(sources))
        bar = stack.enter_context(progress(quiet))
        task = bar.add_task(f"{encoder.name}, {len(levels)} levels", total=len(sources), completed=start)
        saved = time.monotonic()
        try:
            for first, names, images in _decoded(sources, start, batch_size, encoder):
                last = first + len(names)
                behind = {name: level for name, level in levels.items() if rows.done[name] < last}
                keys = [sha256 for _, _, sha256 in sources[first:last]]
                transformed = _transformed(images, list(behind.values()), keys, encoder)
                for name, pixels in zip(behind, transformed, strict=True):
                    rows.write(name, first, _unit_vectors(pixels, encoder, names, name))
                rows.done |= {name: max(last, done) for name, done in rows.done.items()}
                bar.update(task, completed=last)
                if time.monotonic() - saved >= checkpoint_seconds:
                    rows.checkpoint()
                    saved = time.monotonic()
            rows.checkpoint()
        except BaseException:
            with contextlib.suppress(OSError):
                rows.checkpoint()
            raise
    for name in levels:
        rows.file(name).replace(folder / f"{name}.npy")
    sync_folder(folder)


def has_idle_work(folder: Path) -> bool:
    """Whether `folder/work` holds no level that waits to be finished: a run was stopped while it cleared up."""
    work = folder / "work"
    return work.is_dir() and not any(work.glob(f"*{PARTIAL_ROWS}"))


def clear_work(folder: Path) -> None:
    """Remove `folder/work`, unless another ladder left unfinished levels there."""
    if has_idle_work(folder):
        shutil.rmtree(folder / "work")


class PartialRows:
    """Growing ``.npy`` files of known final shape, and a record of the rows of each that are safe on the disk.

    Attributes
    ----------
    done : dict of name to int
        Rows finished; on the disk it is never ahead of the rows.
    """

    def __init__(self, folder: Path, names: Sequence[str], shape: tuple[int, int], stack: contextlib.ExitStack):
        self.folder, self.shape = folder, shape
        self._record = folder / "progress.json"
        self._recorded = read_json(self._record, "a record of progress") if self._record.exists() else {}
        self.done: dict[str, int] = {}
        self._files: dict[str, IO[bytes]] = {}
        self._start: dict[str, int] = {}
        for name in names:
            path = self.file(name)
            file = self._files[name] = stack.enter_context(path.open("r+b" if path.exists() else "w+b"))
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": self.shape})
            self._start[name] = file.tell()
            file.flush()
            there = (os.fstat(file.fileno()).st_size - file.tell()) // (4 * shape[1])
            self.done[name] = max(0, min(int(self._recorded.get(name, 0)), there))

    def file(self, name: str) -> Path:
        """Where the rows of `name` grow."""
        return self.folder / f"{name}{PARTIAL_ROWS}"

    def write(self, name: str, first: int, rows: np.ndarray) -> None:
        """Put float32 rows at row `first`; they count once `done` says so and `checkpoint` returned."""
        file = self._files[name]
        file.seek(self._start[name] + 4 * self.shape[1] * first)
        file.write(rows.astype("<f4", copy=False).tobytes())

    def checkpoint(self) -> None:
        """Make the rows safe, then the record of them."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        write_json(self._record, self._recorded | self.done)


def _decoded(
    sources: Sequence[Source], start: int, batch_size: int, encoder: ImageEncoder
) -> Iterator[tuple[int, list[str], Tensor]]:
    """Blocks (first row, images, uint8 pixels); the next one is decoded while the caller works on this one."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:

        def submit(first: int) -> list[Future[Tensor]]:
            return [pool.submit(_decode, source, encoder) for source in sources[first : first + batch_size]]

        try:
            upcoming = submit(start)
            for first in range(start, len(sources), batch_size):
                block, upcoming = upcoming, submit(first + batch_size)
                names = [image for image, _, _ in sources[first : first + batch_size]]
                yield first, names, torch.stack([future.result() for future in block])
        finally:
            pool.shutdown(cancel_futures=True)


def _decode(source: Source, encoder: ImageEncoder) -> Tensor:
    _, path, sha256 = source
    data = read_image_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"{path} changed while its features were being computed; run the same command again.")
    return decode_image(data, path, encoder.size, encoder.interpolation)


def _transformed(images: Tensor, levels: Sequence[Level], keys: Sequence[str], encoder: ImageEncoder) -> Tensor:
    """Float32 pixels in 0..1, (n_levels, n_images, 3, size, size), on the encoder's device if it has one."""
    try:
        return apply_levels(images.to(getattr(encoder, "device", "cpu")), levels, keys)
    except ValueError as error:
        raise InputError(f"A level does not fit images of {encoder.size} pixels: {error}") from error


def _unit_vectors(pixels: Tensor, encoder: ImageEncoder, names: Sequence[str], level: str) -> np.ndarray:
    """Encode pixels (n, 3, size, size) and normalise; float32 of shape (n, dim)."""
    vectors = encoder(pixels).double()
    if vectors.shape != (len(names), encoder.dim):
        raise InputError(
            f"The encoder {encoder.name} gave an array of shape {tuple(vectors.shape)} for {len(names)} images; "
            f"expected ({len(names)}, {encoder.dim})."
        )
    lengths = vectors.norm(dim=1)
    for name, length in zip(names, lengths.tolist(), strict=True):
        if not 0 < length < float("inf"):
            found = "only zeros" if length == 0 else "values that are not finite"
            raise InputError(
                f"The encoder {encoder.name} gives {found} for the image {name!r} at level {level}; "
                "expected a direction, so leave that image out or take another encoder."
            )
    return (vectors / lengths[:, None]).float().numpy()
