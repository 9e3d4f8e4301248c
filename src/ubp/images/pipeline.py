"""From image files to unit vectors, block by block: decode, transform and encode, each a step ahead of the next.

    decode (a pool of threads) -> transform (every level, from one decode) -> tower -> unit vectors

Memory holds a few blocks, whatever the number of images. What a block gives depends on its images, the levels and the
batch size alone, so that any part of a run can be made again, or elsewhere, with the same bits on the cpu.
"""

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ubp.ahead import ahead
from ubp.errors import InputError
from ubp.images.encoders import ImageEncoder
from ubp.images.levels import Level, apply_levels
from ubp.images.load import decode_image, read_image_bytes

PIXEL_BYTES = 256 << 20  # of float32 pixels in one transform; a longer ladder is cut into groups of levels
CALL_IMAGES = 512  # in one call of a tower on a GPU


@dataclass(frozen=True)
class Sources:
    """Images of a folder and the SHA-256 of their files, as two equally long sequences."""

    folder: Path
    images: Sequence[str]
    sha256: Sequence[str]

    def __len__(self) -> int:
        return len(self.images)

    def part(self, first: int, last: int) -> "Sources":
        """Images first..last (without last)."""
        return Sources(self.folder, self.images[first:last], self.sha256[first:last])


@dataclass(frozen=True)
class Block:
    """Unit vectors of images first..last (without last): level name to float32 (last - first, dim)."""

    first: int
    last: int
    vectors: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Pixels:
    first: int
    last: int
    levels: tuple[str, ...]
    pixels: Tensor  # (levels, images, 3, size, size)
    ends_block: bool


def check_levels(levels: Sequence[Level], size: int) -> None:
    """Try every level on one black image.

    Raises
    ------
    InputError
        When a level does not fit images of this size in pixels.
    """
    try:
        apply_levels(torch.zeros(1, 3, size, size), levels, [""])
    except ValueError as error:
        raise InputError(f"A level does not fit images of {size} pixels: {error}") from error


def encoded_blocks(
    sources: Sources,
    levels: Mapping[str, Level],
    encoder: ImageEncoder,
    batch_size: int,
    there: Mapping[str, int] | None = None,
    levels_per_call: int | None = None,
) -> Generator[Block, None, None]:
    """Encode images at every level, in blocks of `batch_size` in the order of `sources`.

    Parameters
    ----------
    sources : Sources
    levels : mapping of name to Level
    encoder : ImageEncoder
        With an attribute `device` on a GPU, pixels are transformed there.
    batch_size : int
        Images per block.
    there : mapping of name to int, optional
        Images at the start that a level has already; a block holds the levels that lack some of its images.
    levels_per_call : int, optional
        Levels that share one call of the tower. By default one on the cpu, where a call of 32 images fills the cores
        and a level's bits then do not depend on which others are made with it; on a GPU as many as `CALL_IMAGES` allow.

    Yields
    ------
    Block

    Raises
    ------
    InputError
        When an image cannot be decoded, changed since it was hashed, or has no finite vector other than zero.
    ValueError
        When a level does not fit the images; `check_levels` finds that before there is any image.
    """
    there = {name: (there or {}).get(name, 0) for name in levels}
    device = torch.device(getattr(encoder, "device", "cpu"))
    if levels_per_call is None:
        levels_per_call = 1 if device.type == "cpu" else max(1, CALL_IMAGES // batch_size)
    with (
        closing(_decoded(sources, min(there.values()), encoder, batch_size, device)) as decoded,
        closing(ahead(_transformed(decoded, sources, levels, there, encoder, device, levels_per_call))) as transformed,
        closing(ahead(_encoded(transformed, encoder, levels_per_call))) as encoded,
    ):
        vectors: dict[str, np.ndarray] = {}
        for item, found in encoded:
            names = sources.images[item.first : item.last]
            for level, rows in zip(item.levels, found, strict=True):
                vectors[level] = _unit_vectors(rows, encoder, names, level)
            if item.ends_block:
                yield Block(item.first, item.last, vectors)
                vectors = {}


def _decoded(
    sources: Sources, start: int, encoder: ImageEncoder, batch_size: int, device: torch.device
) -> Generator[tuple[int, Tensor], None, None]:
    """Blocks (first image, uint8 pixels); the pool decodes up to two blocks further on meanwhile."""
    with ThreadPoolExecutor(torch.get_num_threads(), "decode") as pool:
        waiting: deque[Future[Tensor]] = deque()
        try:
            for first in range(start, len(sources), batch_size):
                for image in range(first + len(waiting), min(first + 2 * batch_size, len(sources))):
                    waiting.append(pool.submit(_decode, sources, image, encoder))
                n = min(batch_size, len(sources) - first)
                block = torch.stack([waiting.popleft().result() for _ in range(n)])
                yield first, block.pin_memory() if device.type == "cuda" else block
        finally:
            pool.shutdown(cancel_futures=True)


def _decode(sources: Sources, image: int, encoder: ImageEncoder) -> Tensor:
    path = sources.folder / sources.images[image]
    data = read_image_bytes(path)
    if hashlib.sha256(data).hexdigest() != sources.sha256[image]:
        raise InputError(f"{path} changed while its features were being computed; run the same command again.")
    return decode_image(data, path, encoder.size, encoder.interpolation)


@torch.no_grad()
def _transformed(
    decoded: Iterator[tuple[int, Tensor]],
    sources: Sources,
    levels: Mapping[str, Level],
    there: Mapping[str, int],
    encoder: ImageEncoder,
    device: torch.device,
    levels_per_call: int,
) -> Iterator[_Pixels]:
    """Pixels of groups of levels, each as large as `PIXEL_BYTES` allows, in whole calls of the tower."""
    for first, images in decoded:
        last = first + len(images)
        behind = [name for name in levels if there[name] < last]
        calls = PIXEL_BYTES // (4 * images.numel() * levels_per_call)
        step = levels_per_call * max(1, calls)
        images = images.to(device, non_blocking=True)
        for group in (tuple(behind[i : i + step]) for i in range(0, len(behind), step)):
            pixels = apply_levels(images, [levels[name] for name in group], sources.sha256[first:last])
            yield _Pixels(first, last, group, pixels, group[-1] == behind[-1])


def _encoded(
    transformed: Iterator[_Pixels], encoder: ImageEncoder, levels_per_call: int
) -> Iterator[tuple[_Pixels, Tensor]]:
    """The tower's vectors, (levels, images, dim), and what they belong to."""
    for item in transformed:
        n = item.last - item.first
        parts = []
        for call in item.pixels.split(levels_per_call):
            vectors = encoder(call.flatten(0, 1))
            if vectors.shape != (len(call) * n, encoder.dim):
                raise InputError(
                    f"The encoder {encoder.name} gave an array of shape {tuple(vectors.shape)} for {len(call) * n} "
                    f"images; expected ({len(call) * n}, {encoder.dim})."
                )
            parts.append(vectors.unflatten(0, (len(call), n)))
        yield _Pixels(item.first, item.last, item.levels, torch.empty(0), item.ends_block), torch.cat(parts)


def _unit_vectors(vectors: Tensor, encoder: ImageEncoder, names: Sequence[str], level: str) -> np.ndarray:
    """Normalise (n, dim); float32."""
    vectors = vectors.double()
    lengths = vectors.norm(dim=1)
    for name, length in zip(names, lengths.tolist(), strict=True):
        if not 0 < length < float("inf"):
            found = "only zeros" if length == 0 else "values that are not finite"
            raise InputError(
                f"The encoder {encoder.name} gives {found} for the image {name!r} at level {level}; "
                "expected a direction, so leave that image out or take another encoder."
            )
    return (vectors / lengths[:, None]).float().numpy()
