"""Level files while they grow: rows that are safe on the disk, and a record of how many there are."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ubp.errors import InputError
from ubp.files import read_json, sync_folder, write_json

PARTIAL_ROWS = ".npy.partial"
WORK = "work"


def has_idle_work(folder: Path) -> bool:
    """Whether ``folder/work`` holds no level that waits to be finished: a run was stopped while it cleared up."""
    work = folder / WORK
    return work.is_dir() and not any(work.glob(f"*{PARTIAL_ROWS}"))


def clear_work(folder: Path) -> None:
    """Remove ``folder/work``, unless another ladder left unfinished levels there."""
    if has_idle_work(folder):
        shutil.rmtree(folder / WORK)


class PartialRows:
    """Growing ``.npy`` files of known final shape, and a record of the rows of each that are safe on the disk.

    Parameters
    ----------
    folder : Path
        Of the store; the files grow in ``folder/work``.
    names : sequence of str
        Of the levels.
    shape : (int, int)
        Of each finished array.
    dtype : dtype
        Of the files.
    stack : ExitStack
        Closes the files.

    Attributes
    ----------
    done : dict of name to int
        Rows finished; on the disk it is never ahead of the rows.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], shape: tuple[int, int], dtype: np.dtype, stack: contextlib.ExitStack
    ):
        self.folder, self.shape, self.dtype = folder, shape, dtype.newbyteorder("<")
        work = folder / WORK
        work.mkdir(exist_ok=True)
        self._record = work / "progress.json"
        self._recorded = _recorded(self._record)
        self.done: dict[str, int] = {}
        self._files: dict[str, IO[bytes]] = {}
        self._start: dict[str, int] = {}
        self._row_bytes = self.dtype.itemsize * shape[1]
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        for name in names:
            path = self.file(name)
            file = self._files[name] = stack.enter_context(path.open("r+b" if path.exists() else "w+b"))
            np.lib.format.write_array_header_1_0(file, header)
            self._start[name] = file.tell()
            file.flush()
            there = (os.fstat(file.fileno()).st_size - file.tell()) // self._row_bytes
            self.done[name] = max(0, min(self._recorded.get(name, 0), there))

    def file(self, name: str) -> Path:
        """Where the rows of `name` grow."""
        return self.folder / WORK / f"{name}{PARTIAL_ROWS}"

    def write(self, name: str, first: int, rows: np.ndarray) -> None:
        """Put rows at row `first`; they count once `reached` or `done` says so and `checkpoint` returned."""
        file = self._files[name]
        file.seek(self._start[name] + self._row_bytes * first)
        file.write(rows.astype(self.dtype, copy=False).tobytes())

    def reached(self, last: int) -> None:
        """Every level has all rows before `last`."""
        self.done |= {name: max(last, done) for name, done in self.done.items()}

    def checkpoint(self) -> None:
        """Make the rows safe, then the record of them."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        write_json(self._record, self._recorded | self.done)

    def publish(self) -> None:
        """Give the finished files their names."""
        for name in self._files:
            self.file(name).replace(self.folder / f"{name}.npy")
        sync_folder(self.folder)


def _recorded(file: Path) -> dict[str, int]:
    """Rows by level; nothing where the record is absent or damaged, so that the rows are made again."""
    try:
        found = read_json(file, "a record of progress")
    except InputError:
        return {}
    return {name: rows for name, rows in found.items() if isinstance(rows, int)}
