"""A signals.npy whose rows arrive in any order."""

import os
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd

from ubp.data.recording import not_finite
from ubp.data.tables import read_signals_header
from ubp.errors import InputError


class SignalsFile:
    """Write rows of shape (n_channels, n_times) to their places in a file that `create` made.

    Several processes may write different rows of one file.

    Parameters
    ----------
    path : Path
        The file.
    shape : (int, int, int)
        n_trials, n_channels, n_times.
    dtype : str
        "float16" or "float32".
    channels : Series of str
        Names, for messages.

    Attributes
    ----------
    done : bool array of shape (n_trials,)
        Rows written through this object; they are safe on the disk once the block has ended.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: str, channels: pd.Series):
        self.path, self.shape, self.dtype, self.channels = path, shape, np.dtype(dtype), channels
        header = read_signals_header(path)
        if (header.shape, header.dtype) != (shape, self.dtype):
            raise InputError(f"{path} holds {header.dtype} of shape {header.shape}; expected {dtype} of shape {shape}.")
        self.row_bytes, self.start = header.row_bytes, header.offset
        self.handle = path.open("r+b", buffering=0)
        self.done = np.zeros(shape[0], bool)

    @staticmethod
    def create(path: Path, shape: tuple[int, int, int], dtype: str) -> None:
        """Make a file of that shape, all zero; it takes no space before rows are written."""
        with path.open("wb") as handle:
            descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
            np.lib.format.write_array_header_1_0(handle, {"descr": descr, "fortran_order": False, "shape": shape})
            handle.truncate(handle.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize)

    def __enter__(self) -> "SignalsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.handle:
            if kind is None:
                os.fsync(self.handle.fileno())

    def write(self, rows: np.ndarray, signals: np.ndarray) -> None:
        """Write signals of shape (n, n_channels, n_times) to `rows`.

        Raises
        ------
        InputError
            When a number does not fit the type of the file.
        """
        with np.errstate(over="ignore"):
            block = np.ascontiguousarray(signals, self.dtype)
        bad = ~np.isfinite(block)
        if bad.any():
            i, c, t = np.argwhere(bad)[0]
            if np.isfinite(signals[i, c, t]):
                raise InputError(
                    f"A value of {signals[i, c, t]:.3g} in channel {self.channels.iloc[c]!r} does not fit "
                    f"{self.dtype}; choose float32."
                )
            raise InputError(not_finite(self.path, int(rows[i]), str(self.channels.iloc[c]), float(block[i, c, t])))
        order = np.argsort(rows)
        if (np.diff(order) != 1).any():
            block = np.ascontiguousarray(block[order])
        rows = rows[order]
        content = memoryview(block.reshape(-1).view(np.uint8).data)
        starts = np.flatnonzero(np.diff(rows, prepend=rows[:1] - 2) != 1)
        for first, last in zip(starts, [*starts[1:], len(rows)], strict=True):
            piece = content[first * self.row_bytes : last * self.row_bytes]
            self.handle.seek(self.start + int(rows[first]) * self.row_bytes)
            while piece:
                piece = piece[self.handle.write(piece) :]
        self.done[rows] = True
