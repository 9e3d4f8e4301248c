"""The files of a shared model, from a folder of this machine or from a web server."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ubp.data.download import Damaged, Receipt, Retry, download
from ubp.data.remote import Refused
from ubp.errors import InputError, UbpError
from ubp.sharing.manifest import LIMITS, MANIFEST, MANIFEST_LIMIT, receipt
from ubp.sharing.pack import copy_file
from ubp.sharing.places import Address

if TYPE_CHECKING:
    from requests import Session

HINT = "expected a model that `ubp push` put there"


class Source(Protocol):
    """Where files are taken from."""

    def manifest(self, path: Path) -> None:
        """Bring `files.json` to `path`."""
        ...

    def file(self, name: str, wanted: Receipt, path: Path, advance: Callable[[int], object]) -> None:
        """Bring a file to `path`, complete and checked, or raise."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """A folder of this machine."""

    folder: Path

    def manifest(self, path: Path) -> None:
        """Copy `files.json`."""
        if not (self.folder / MANIFEST).is_file():
            raise InputError(f"{self.folder} has no {MANIFEST}; {HINT}.")
        copy_file(self.folder / MANIFEST, path, MANIFEST_LIMIT)

    def file(self, name: str, wanted: Receipt, path: Path, advance: Callable[[int], object]) -> None:
        """Copy a file."""
        source = self.folder / name
        if source.is_file() and source.stat().st_size != wanted.size:
            raise InputError(
                f"{source} has {source.stat().st_size} bytes, and {MANIFEST} says {wanted.size}; expected the file "
                "that was pushed, so push the model again."
            )
        copy_file(source, path, LIMITS[name])
        found = receipt(path)
        if found != wanted:
            path.unlink()
            raise InputError(
                f"{source} has the SHA-256 {found.sha256}, and {MANIFEST} says {wanted.sha256}; expected the file that "
                "was pushed, so push the model again."
            )
        advance(wanted.size)


@dataclass(frozen=True)
class WebSource:
    """A folder on a web server.

    Parameters
    ----------
    address : Address
    session : requests.Session
        With the headers that the server wants.
    retry : Retry
    """

    address: Address
    session: "Session"
    retry: Retry

    def manifest(self, path: Path) -> None:
        """Download `files.json`."""
        self._download(MANIFEST, path, most=MANIFEST_LIMIT)

    def file(self, name: str, wanted: Receipt, path: Path, advance: Callable[[int], object]) -> None:
        """Download a file; one that broke off is continued."""
        self._download(name, path, wanted, lambda here, total: advance(here))

    def _download(
        self,
        name: str,
        path: Path,
        wanted: Receipt | None = None,
        advance: Callable[[int, int | None], object] = lambda here, total: None,
        most: int | None = None,
    ) -> None:
        size, sha256 = (wanted.size, wanted.sha256) if wanted else (None, None)
        try:
            download(
                f"{self.address}/{name}",
                path,
                session=self.session,
                size=size,
                sha256=sha256,
                most=most,
                retry=self.retry,
                advance=advance,
                otherwise=HINT,
            )
        except UbpError as error:
            # another attempt would not change the address, or what lies there
            if isinstance(error.__cause__, Refused | Damaged):
                raise InputError(str(error)) from error.__cause__
            raise
