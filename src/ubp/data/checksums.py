"""Checksums recorded when a file first arrived, and checked whenever it is met again."""

import fcntl
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ubp.data.archives import Advance, Tree, describe
from ubp.data.download import Receipt, digests
from ubp.errors import InputError
from ubp.files import read_json, write_json

NAME = "checksums.json"


class Checksums:
    """The file checksums.json of a folder: size and SHA-256 of each file, or of all files of an unpacked folder."""

    def __init__(self, folder: Path):
        self.path = Path(folder) / NAME

    def _read(self) -> dict[str, Any]:
        return read_json(self.path, "the checksums of what was fetched") if self.path.exists() else {}

    def sha256(self, name: str) -> str | None:
        """The recorded SHA-256 of a file, or None."""
        entry = self._read().get(name)
        return entry.get("sha256") if isinstance(entry, dict) else None

    def record(self, name: str, content: Receipt | Tree) -> None:
        """Record what a file or folder holds."""
        # one process at a time, each reading again: another may have recorded other files
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            write_json(self.path, dict(sorted({**self._read(), name: asdict(content)}.items())))
        finally:
            os.close(folder)

    def check(
        self, name: str, path: Path, known: str | None = None, advance: Advance = lambda n: None
    ) -> Receipt | Tree:
        """Compare a file or folder with what is published and recorded, as far as it is.

        Parameters
        ----------
        name : str
            Name in the record.
        path : Path
            The file or folder.
        known : str, optional
            SHA-256 published for the file.
        advance : callable, optional
            Told the bytes of each block read.

        Returns
        -------
        Receipt or Tree
            What is there.

        Raises
        ------
        InputError
            When they differ.
        """
        found: Receipt | Tree
        if path.is_dir():
            found = describe(path, advance)
        else:
            found = Receipt(path.stat().st_size, digests(path, ("sha256",), advance)[0])
        if known not in (None, found.sha256):
            raise InputError(f"{path} has the SHA-256 {found.sha256}, expected {known}; remove it and fetch it again.")
        recorded = self._read().get(name, asdict(found))
        if recorded != asdict(found):
            before = recorded if isinstance(recorded, dict) else {}
            differences = [
                f"{what} {value} instead of {before.get(what)}"
                for what, value in asdict(found).items()
                if value != before.get(what)
            ]
            raise InputError(
                f"{path} is not what was recorded in {self.path} ({', '.join(differences)}); remove it and fetch it "
                "again, or remove its record if the change is meant."
            )
        return found
