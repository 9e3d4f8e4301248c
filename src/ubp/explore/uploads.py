"""Recordings that come over the network: bounded, kept in a folder of their own, and never opened before a check."""

import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ubp.data.fif import check_alone
from ubp.data.given import GivenSignals, given_signals
from ubp.errors import InputError
from ubp.explore.session import Session

KINDS = (".fif", ".npy")
LONGEST_TITLE = 80


def title_of(name: str) -> tuple[str, str]:
    """What to call an uploaded file, and its kind; the name it comes with is never a path.

    Raises
    ------
    InputError
        When it ends in neither .fif nor .npy.
    """
    title = PurePosixPath(name.replace("\\", "/")).name
    title = "".join(letter for letter in title if letter.isprintable()).strip()
    title = title if len(title) <= LONGEST_TITLE else f"…{title[-LONGEST_TITLE + 1 :]}"
    kind = PurePosixPath(title).suffix.lower()
    if title.lower().endswith(".fif.gz"):
        raise InputError(f"{title} is compressed; expected a file of epochs as it is (-epo.fif), so unpack it first.")
    if kind not in KINDS:
        raise InputError(f"{title or 'The file'} is no recording; expected epochs (-epo.fif) or an array (.npy).")
    return title, kind


async def receive(stream: AsyncIterator[bytes], path: Path, title: str, most_bytes: int) -> None:
    """Write what comes, and stop where it is too much.

    Raises
    ------
    InputError
        When there are more bytes than allowed, or none.
    """
    size = 0
    with path.open("wb") as handle:
        async for part in stream:
            size += len(part)
            if size > most_bytes:
                raise TooLarge(title, most_bytes)
            handle.write(part)
    if not size:
        raise InputError(f"{title} is empty; expected a recording.")


class TooLarge(InputError):
    """A file beyond the bound; whoever sends it is not listened to any longer."""

    def __init__(self, title: str, most_bytes: int) -> None:
        allowed = f"{most_bytes / 2**20:g} MB"
        super().__init__(f"{title} has more than {allowed}; take fewer trials, or start with a larger --max-upload-mb.")


def take(session: Session, path: Path, title: str, multiply: float) -> dict[str, Any]:
    """Open an uploaded file and let the session browse it.

    Raises
    ------
    InputError
        When it is no recording, or the model cannot take it; the sentence names the file as its owner does.
    """
    with _named(path, title):
        return session.add(OPEN[path.suffix](path), title, multiply)


@contextmanager
def _named(path: Path, title: str) -> Any:
    try:
        yield
    except InputError as error:
        sentence = re.sub(r" \(--multiply [^)]*\)", "", str(error))  # the page has a field for it
        raise InputError(sentence.replace(str(path), title)) from error
    except MemoryError as error:
        raise InputError(f"{title} needs more memory than there is; take fewer trials.") from error


def _fif(path: Path) -> GivenSignals:
    check_alone(path)
    return given_signals(path)


def _array(path: Path) -> GivenSignals:
    with np.errstate(all="ignore"):
        return given_signals(path)


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder for one upload, which nobody else may read."""
    return tempfile.TemporaryDirectory(prefix="ubp-explore-", ignore_cleanup_errors=True)


OPEN: dict[str, Callable[[Path], GivenSignals]] = {".fif": _fif, ".npy": _array}
