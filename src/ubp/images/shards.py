"""Parts of a feature store that are computed apart: written whole, verified before they are used."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ubp.errors import InputError
from ubp.files import atomic_file, read_json, write_json
from ubp.images.encoders import ImageEncoder
from ubp.images.levels import Level
from ubp.images.partial_rows import WORK
from ubp.images.pipeline import Sources, encoded_blocks


@dataclass(frozen=True)
class Shard:
    """Images first..last (without last) of a store at some levels, and all else that their bytes depend on.

    A store's bytes on the cpu follow from its images, its levels, the batch size and torch's number of threads. So a
    shard is whole batches, and whoever computes it uses the same threads.

    Attributes
    ----------
    levels : tuple of str
        Names; the rows of one level come after those of the one before.
    dim : int
        Length of a vector.
    dtype : str
        Of the rows, as numpy writes it.
    """

    first: int
    last: int
    levels: tuple[str, ...]
    dim: int
    dtype: str
    batch_size: int
    threads: int

    def file(self, folder: Path, suffix: str) -> Path:
        """Its rows (``.npy``) or what is said of them (``.json``), below the store's folder."""
        return folder / WORK / "shards" / f"{self.first:09d}-{self.last:09d}{suffix}"

    def remove(self, folder: Path) -> None:
        """Delete its files."""
        for suffix in (".json", ".npy"):
            self.file(folder, suffix).unlink(missing_ok=True)


def compute_shard(
    folder: Path, shard: Shard, sources: Sources, levels: Mapping[str, Level], encoder: ImageEncoder
) -> None:
    """Encode the images of a shard and write it.

    Parameters
    ----------
    folder : Path
        Of the store.
    sources : Sources
        The images of this shard alone.
    levels : mapping of name to Level
        In the order of ``shard.levels``.
    """
    rows = np.empty((len(levels), len(sources), shard.dim), np.dtype(shard.dtype))
    for block in encoded_blocks(sources, levels, encoder, shard.batch_size):
        for target, level in zip(rows, levels, strict=True):
            target[block.first : block.last] = block.vectors[level]
    buffer = io.BytesIO()
    np.save(buffer, rows)
    data = buffer.getbuffer()
    with atomic_file(shard.file(folder, ".npy")) as file:
        file.write(data)
    write_json(shard.file(folder, ".json"), _described(shard, hashlib.sha256(data).hexdigest()))


def read_shard(folder: Path, shard: Shard) -> np.ndarray | None:
    """Rows of a finished shard, (n_levels, n_images, dim), or None when it is absent, of another run, or damaged."""
    try:
        about = read_json(shard.file(folder, ".json"), "what is said of a shard")
        data = shard.file(folder, ".npy").read_bytes()
        if about != _described(shard, hashlib.sha256(data).hexdigest()):
            return None
        rows: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    except (InputError, OSError, ValueError, EOFError):
        return None
    if rows.dtype != shard.dtype or rows.shape != (len(shard.levels), shard.last - shard.first, shard.dim):
        return None
    lengths = np.linalg.norm(rows.astype(np.float32), axis=-1)
    return rows if (np.abs(lengths - 1) < 1e-3).all() else None


def _described(shard: Shard, sha256: str) -> dict[str, object]:
    return {**asdict(shard), "levels": list(shard.levels), "sha256": sha256}
