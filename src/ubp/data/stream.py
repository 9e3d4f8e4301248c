"""Signals read from disk in blocks: every number is read once, and memory holds the result and a few blocks."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
import torch

from ubp.data.tables import SignalsHeader
from ubp.errors import InputError

BLOCK_BYTES = 1 << 22  # a few fit the processor's cache; larger blocks gain nothing
GAP_BYTES = 1 << 16  # a shorter gap costs less to read than to jump over


@dataclass(frozen=True)
class Region:
    """What to read of every row: channels by index, and samples `start` to `stop` (exclusive)."""

    channels: np.ndarray
    start: int
    stop: int

    @property
    def n_times(self) -> int:
        """Number of samples."""
        return self.stop - self.start


def read_blocks(
    path: Path, header: SignalsHeader, rows: np.ndarray, region: Region
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Read `rows` of a signals.npy in blocks of about 4 MiB, one block ahead of the caller.

    File reads, not the memory map: pages of a map stay in the process's memory as long as the system likes.

    Parameters
    ----------
    path : Path
        The file.
    header : SignalsHeader
        Its header.
    rows : int array, increasing
        Rows to read.
    region : Region
        Channels and samples to keep.

    Yields
    ------
    where : slice
        Which of `rows` these are.
    block : float32 tensor of shape (n_rows, n_channels, n_times)
        Overwritten by the next step.

    Raises
    ------
    InputError
        When the file became shorter since its header was read.
    """
    _, n_channels, n_times = header.shape
    first, last = int(region.channels.min()), int(region.channels.max()) + 1
    skip, span = first * n_times * header.dtype.itemsize, (last - first) * n_times * header.dtype.itemsize
    whole = header.row_bytes - span < GAP_BYTES
    if whole:
        first, last, skip, span = 0, n_channels, 0, header.row_bytes
    n_rows = max(1, min(BLOCK_BYTES // span, len(rows)))
    raw = [np.empty((n_rows, last - first, n_times), header.dtype) for _ in range(2)]
    wanted: slice | torch.Tensor = torch.from_numpy(region.channels - first)
    if (np.diff(region.channels) == 1).all():
        wanted = slice(int(region.channels[0]) - first, int(region.channels[-1]) - first + 1)
    result = torch.empty((n_rows, len(region.channels), region.n_times))

    def fetch(number: int) -> tuple[slice, torch.Tensor]:
        some = rows[number * n_rows : (number + 1) * n_rows]
        into = raw[number % 2]
        flat = memoryview(into.data).cast("B")
        starts = np.flatnonzero(np.diff(some, prepend=some[0] - 2) != 1) if whole else np.arange(len(some))
        for a, b in zip(starts, [*starts[1:], len(some)], strict=True):
            handle.seek(header.offset + int(some[a]) * header.row_bytes + skip)
            _fill(handle, flat[a * span : b * span], path)
        return slice(number * n_rows, number * n_rows + len(some)), torch.from_numpy(into)[: len(some)]

    n_blocks = -(-len(rows) // n_rows)
    with path.open("rb", buffering=0) as handle, ThreadPoolExecutor(1) as pool:
        coming = pool.submit(fetch, 0)
        for number in range(n_blocks):
            where, block = coming.result()
            if number + 1 < n_blocks:
                coming = pool.submit(fetch, number + 1)
            block = block[:, :, region.start : region.stop]
            # a slice of neighbours is a view, a choice of others a copy
            block = block[:, wanted] if isinstance(wanted, slice) else block.index_select(1, wanted)
            yield where, result[: len(block)].copy_(block)


def _fill(handle: FileIO, buffer: memoryview, path: Path) -> None:
    done = 0
    while done < len(buffer):
        count = handle.readinto(buffer[done:])
        if not count:
            raise InputError(f"{path} became shorter while it was read; expected it to stay as it was when opened.")
        done += count


def read_mean(
    path: Path, header: SignalsHeader, rows: np.ndarray, group: np.ndarray, region: Region, out: np.ndarray
) -> bool:
    r"""Mean of the rows of each group, :math:`y_g = \sum_{i: g_i = g} x_i / n_g`, summed in the order of the file.

    Parameters
    ----------
    path, header, region
        As in `read_blocks`.
    rows : int array of shape (n,), increasing
        Rows to read.
    group : int array of shape (n,)
        Row of `out` that each belongs to; every row of `out` has at least one.
    out : float32 array of shape (n_groups, n_channels, n_times), C order, zero
        Becomes the means.

    Returns
    -------
    bool
        Whether every mean is finite.
    """
    total = torch.from_numpy(out).view(len(out), -1)
    counts = np.bincount(group, minlength=len(out))
    target = torch.from_numpy(group)
    number = torch.from_numpy(counts.astype(np.float32))[:, None]
    size = max(1, BLOCK_BYTES // max(4, 4 * total.shape[1]))
    with one_torch_thread():
        for where, block in read_blocks(path, header, rows, region):
            total.index_add_(0, target[where], block.view(len(block), -1))
        # a sum is finite only if all its terms are (the rare overflow is told apart by the caller)
        sums = [mean.div_(n).sum() for mean, n in zip(total.split(size), number.split(size), strict=True)]
    return all(bool(torch.isfinite(value)) for value in sums)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let each operation use one thread: the blocks are small, and waking others costs more than they do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def first_not_finite(
    path: Path, header: SignalsHeader, rows: np.ndarray, region: Region
) -> tuple[int, int, float] | None:
    """Row of the file, channel index and value of the first NaN or infinity among `rows`, or None."""
    with one_torch_thread():
        for where, block in read_blocks(path, header, rows, region):
            bad = ~torch.isfinite(block)
            if bad.any():
                i, c, t = (int(index) for index in bad.nonzero()[0])
                return int(rows[where][i]), int(region.channels[c]), float(block[i, c, t])
    return None
