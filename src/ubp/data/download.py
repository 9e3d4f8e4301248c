"""One download that survives cut connections and ends as a complete, checked file or as one sentence."""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ubp.data.remote import Advance, Cut, Notes, Refused, pull
from ubp.data.space import readable
from ubp.errors import UbpError
from ubp.files import PARTIAL, disk_errors, sync_folder
from ubp.progress import messages

if TYPE_CHECKING:
    from requests import Session

BLOCK = 1 << 20


@dataclass(frozen=True)
class Retry:
    """How patiently a download is tried again.

    Parameters
    ----------
    attempts : int
        Attempts in a row that may bring nothing new; one that adds bytes starts the count again.
    wait, longest : float
        Seconds before the second attempt, doubled for each further one up to `longest`.
    timeout : float
        Seconds without a byte after which an attempt is given up.
    """

    attempts: int = 5
    wait: float = 1.0
    longest: float = 30.0
    timeout: float = 30.0


@dataclass(frozen=True)
class Receipt:
    """Size in bytes and hex SHA-256 of a complete file."""

    size: int
    sha256: str


class Damaged(Exception):
    """The whole file came, and is not what was announced."""


def transfer_progress(quiet: bool = False) -> Progress:
    """A progress display of bytes, with rate and remaining time, on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=messages,
        disable=quiet or not messages.is_terminal,
    )


def digests(path: Path, algorithms: tuple[str, ...], advance: Callable[[int], object] = lambda n: None) -> list[str]:
    """Hex digests of a file by several algorithms, read once in blocks; `advance` is told the bytes of each block."""
    sums = [hashlib.new(name, usedforsecurity=False) for name in algorithms]
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            for total in sums:
                total.update(block)
            advance(len(block))
    return [total.hexdigest() for total in sums]


def download(
    url: str,
    path: Path,
    *,
    session: "Session",
    size: int | None = None,
    sha256: str | None = None,
    most: int | None = None,
    retry: Retry | None = None,
    advance: Advance = lambda here, total: None,
    otherwise: str = "try again later",
) -> Receipt:
    """Download `url` to `path`, which appears under that name only when it is complete and checked.

    The bytes go to a partial file beside it. A cut connection is continued there with an HTTP range request, also by a
    later run; a server that ignores ranges, or whose file changed meanwhile, makes it start again.

    Parameters
    ----------
    url : str
        Address, http or https.
    path : Path
        Final name; its folder is created.
    session : requests.Session
        The connections to use.
    size, sha256 : int, str, optional
        What the file must be, where it is known beforehand; digests announced by the server are checked as well.
    most : int, optional
        Bytes that a file of unknown size may have.
    retry : Retry, optional
        Patience.
    advance : callable, optional
        Called with (bytes so far, bytes in all or None).
    otherwise : str
        End of the sentence that reports a failure: what to do about it.

    Returns
    -------
    Receipt
        Size and SHA-256 of what was written.

    Raises
    ------
    UbpError
        When the server cannot be reached, refuses, keeps cutting, or twice sends something else than it announced.
    InputError
        When the disk has no room for the file.
    """
    retry = retry or Retry()
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    kept = _kept(partial)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(partial) as handle:
            notes = Notes.read(kept, url)
            if notes.total is None:
                handle.truncate(0)
            misses, furthest, damaged = 0, handle.seek(0, os.SEEK_END), False
            while True:
                try:
                    pull(session, handle, notes, kept, size, retry.timeout, advance, most)
                    handle.flush()
                    receipt = _checked(partial, notes, size, sha256)
                    break
                except Damaged as error:
                    handle.truncate(0)
                    if damaged:
                        raise UbpError(f"{url} {error}, twice; {otherwise}.") from error
                    damaged, furthest = True, 0
                except Refused as error:
                    raise UbpError(f"{url} {error}; {otherwise}.") from error
                except Cut as error:
                    here = handle.seek(0, os.SEEK_END)
                    misses = 1 if here > furthest else misses + 1
                    furthest = max(furthest, here)
                    if misses >= retry.attempts:
                        rest = f" ({readable(here)} are kept and another run continues them)" if here else ""
                        raise UbpError(f"{url} {error}{rest}; {otherwise}.") from error
                    time.sleep(min(retry.longest, retry.wait * 2 ** (misses - 1)))
            os.fsync(handle.fileno())
            partial.replace(path)
            kept.unlink(missing_ok=True)
            sync_folder(path.parent)
    return receipt


def _checked(partial: Path, notes: Notes, size: int | None, sha256: str | None) -> Receipt:
    """The receipt of a whole file, once it agrees with everything that is known of it."""
    ours, *theirs = digests(partial, ("sha256", *notes.digests))
    receipt = Receipt(partial.stat().st_size, ours)
    if size not in (None, receipt.size):
        raise Damaged(f"sent {receipt.size} bytes, expected {size}")
    if sha256 not in (None, ours):
        raise Damaged(f"sent a file with SHA-256 {ours}, expected {sha256}")
    for (name, announced), found in zip(notes.digests.items(), theirs, strict=True):
        if found != announced:
            raise Damaged(f"sent a file with {name} {found}, and announced {announced}")
    return receipt


def _kept(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


@contextmanager
def _only_one(partial: Path) -> Iterator[IO[bytes]]:
    """Open the partial file for appending, and see to it that nobody else does."""
    with partial.open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = partial.stat().st_ino == os.fstat(handle.fileno()).st_ino
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:
            raise UbpError(f"{partial} is being written by another process; wait until that one has finished.")
        try:
            yield handle
        finally:
            if partial.exists() and not partial.stat().st_size:
                partial.unlink()
                _kept(partial).unlink(missing_ok=True)
