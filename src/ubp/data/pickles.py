"""The pickled files of public datasets (.npy, .pkl, .pt), read without unpickling: no code in a file can run.

What is admitted: dictionaries, lists and tuples of numpy arrays, text and numbers. `torch.load(weights_only=True)` is
not used: it refuses pickle protocol 5, in which the UBP authors wrote THINGS-EEG2, and it copies the arrays.
"""

import mmap
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ubp.data.pickle_machine import Machine, Refused
from ubp.errors import InputError

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: signature, lengths of name and extra field
MAX_MEMBERS = 10_000


@dataclass(frozen=True, eq=False)
class Pickled:
    """The content of a pickled file.

    Parameters
    ----------
    path : Path
        The file.
    value : dict, list or other plain object
        Its arrays are read-only views of the file; a part is read from disk when it is used.
    pages : mmap
        The mapped file.
    """

    path: Path
    value: Any
    pages: mmap.mmap

    def __reduce__(self) -> tuple[Any, ...]:
        # another process opens the file by itself
        return (read_torch if self.pages[:4] == ZIP_MAGIC else read_pickle), (self.path,)

    def forget(self) -> None:
        """Give back the memory of all pages read so far; they are read again when used again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.pages.madvise(mmap.MADV_DONTNEED)

    def field(self, name: str) -> Any:
        """An entry of a dictionary.

        Raises
        ------
        InputError
            When the file holds no dictionary, or not this key.
        """
        if not isinstance(self.value, dict):
            raise InputError(f"{self.path} holds a {type(self.value).__name__}; expected a dictionary with {name!r}.")
        if name not in self.value:
            found = ", ".join(map(str, list(self.value)[:10])) or "nothing"
            raise InputError(f"{self.path} has no {name!r} (it has {found}); expected a dictionary with that key.")
        return self.value[name]

    def array(self, name: str, n_axes: int, kinds: str) -> np.ndarray:
        """An array in a dictionary, of `n_axes` axes and of a type whose kind is one of `kinds` ("f", "iuf", "U").

        Raises
        ------
        InputError
            When it is something else.
        """
        value = self.field(name)
        if not isinstance(value, np.ndarray):
            raise InputError(f"{self.path}: {name!r} is a {type(value).__name__}; expected a numpy array.")
        if value.ndim != n_axes or value.dtype.kind not in kinds:
            raise InputError(
                f"{self.path}: {name!r} has shape {value.shape} and type {value.dtype}; "
                f"expected {n_axes} axes and a type of kind {' or '.join(kinds)}."
            )
        return value

    def texts(self, name: str) -> list[str]:
        """A list or array of texts in a dictionary.

        Raises
        ------
        InputError
            When it is something else.
        """
        value = self.field(name)
        items = value.ravel().tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
            raise InputError(f"{self.path}: {name!r} is not a list of texts; expected one.")
        return list(items)


def read_pickle(path: str | Path) -> Pickled:
    """Open a pickle, bare or inside a .npy file; nothing in it is run and arrays are not copied.

    Raises
    ------
    InputError
        When the file is absent, cut short, or holds anything but dictionaries, lists, arrays, text and numbers.
    """
    path = Path(path)
    pages = _map(path)
    start = 0
    if pages[: len(NPY_MAGIC)] == NPY_MAGIC:
        try:
            version = np.lib.format.read_magic(pages)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            dtype = read(pages)[2]
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}); download it again.") from error
        if not dtype.hasobject:
            raise InputError(f"{path} holds a plain array; expected a pickled dictionary.")
        start = pages.tell()
    return _read(path, pages, start, len(pages))


def read_torch(path: str | Path) -> Pickled:
    """Open a file of `torch.save` of dictionaries, lists, numpy arrays, text and numbers; as `read_pickle`.

    Raises
    ------
    InputError
        As for `read_pickle`; also when the file is compressed or holds tensors.
    """
    path = Path(path)
    pages = _map(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise InputError(f"{path} is not a whole file of torch.save ({error}); download it again.") from error
    found = [member for member in members[:MAX_MEMBERS] if member.filename.split("/")[1:] == ["data.pkl"]]
    if len(found) != 1 or found[0].compress_type != zipfile.ZIP_STORED:
        raise InputError(f"{path} has no plain member data.pkl; expected a file that torch.save wrote.")
    at = found[0].header_offset
    signature, n_name, n_extra = LOCAL_HEADER.unpack(pages[at : at + LOCAL_HEADER.size].ljust(LOCAL_HEADER.size, b"\0"))
    start = at + LOCAL_HEADER.size + n_name + n_extra
    if signature != ZIP_MAGIC or start + found[0].file_size > len(pages):
        raise InputError(f"{path} is damaged; download it again.")
    return _read(path, pages, start, start + found[0].file_size)


def _map(path: Path) -> mmap.mmap:
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a downloaded data file there.")
    try:
        with path.open("rb") as handle:
            return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); download it again.") from error


def _read(path: Path, pages: mmap.mmap, start: int, stop: int) -> Pickled:
    try:
        return Pickled(path, Machine(memoryview(pages)[:stop], start).run(), pages)
    except Refused as error:
        raise InputError(f"{path} {error}; nothing was loaded from it.") from error
