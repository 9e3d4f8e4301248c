"""`files.json`: which files of a model are shared, with the size and SHA-256 of each."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ubp import calibration, model
from ubp.data.download import Receipt, digests
from ubp.description import DESCRIPTION, check_format
from ubp.errors import InputError
from ubp.files import read_json, write_json

MANIFEST = "files.json"
CARD = "README.md"
FORMAT = 1
MANIFEST_LIMIT = 1 << 16

# what is pushed and pulled, and the bytes that each may have; nothing else ever is
LIMITS = {
    DESCRIPTION: 1 << 24,
    model.WEIGHTS: 1 << 34,
    model.HISTORY: 1 << 26,
    calibration.FILE: 1 << 34,
    CARD: 1 << 20,
}
NEEDED = (DESCRIPTION, model.WEIGHTS, model.HISTORY)


@dataclass(frozen=True)
class Manifest:
    """Size and SHA-256 of every shared file, by name."""

    files: Mapping[str, Receipt]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(receipt.size for receipt in self.files.values())

    @classmethod
    def of(cls, folder: Path) -> "Manifest":
        """What a folder holds of the files that are shared."""
        return cls({name: receipt(folder / name) for name in LIMITS if (folder / name).is_file()})

    def write(self, folder: Path) -> None:
        """Write `files.json`, atomically."""
        files = {name: asdict(receipt) for name, receipt in self.files.items()}
        write_json(folder / MANIFEST, {"format": FORMAT, "files": files})

    @classmethod
    def read(cls, path: Path, where: str) -> "Manifest":
        """Read what :meth:`write` wrote, or anybody else.

        Parameters
        ----------
        path : Path
        where : str
            Where it came from, for what is raised.

        Raises
        ------
        InputError
            When it is not such a list, is of a newer version, names a file that no model has, lacks one that every
            model has, or a size or digest is impossible.
        """
        if path.is_file() and path.stat().st_size > MANIFEST_LIMIT:
            raise InputError(f"{where} has {path.stat().st_size} bytes; expected at most {MANIFEST_LIMIT}.")
        try:
            content = read_json(path, "the list of a shared model's files")
        except InputError as error:
            raise InputError(
                f"{where} cannot be read; expected the list of files that `ubp push` writes there."
            ) from error
        check_format(content.get("format"), FORMAT, where)
        listed = content.get("files")
        if not isinstance(listed, dict):
            raise InputError(f"{where} has no files; expected the size and SHA-256 of each, by name.")
        files = {name: _receipt(name, about, where) for name, about in listed.items()}
        for name in NEEDED:
            if name not in files:
                raise InputError(f"{where} lists no {name}; expected at least {', '.join(NEEDED)}.")
        return cls(files)


def receipt(path: Path) -> Receipt:
    """Size and SHA-256 of a file."""
    return Receipt(path.stat().st_size, digests(path, ("sha256",))[0])


def _receipt(name: str, about: Any, where: str) -> Receipt:
    if name not in LIMITS:
        raise InputError(
            f"{where} lists {name[:80]!r}, which is no file of a model; nothing is taken but {', '.join(LIMITS)}."
        )
    size, sha256 = (about.get("size"), about.get("sha256")) if isinstance(about, dict) else (None, None)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= LIMITS[name]:
        raise InputError(
            f"{where} says that {name} has {repr(size)[:40]} bytes; expected a whole number, 0 to {LIMITS[name]}."
        )
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise InputError(f"{where} has no SHA-256 of {name}; expected 64 hexadecimal digits in lower case.")
    return Receipt(size, sha256)
