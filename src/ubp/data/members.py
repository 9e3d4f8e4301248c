"""The files inside a zip or tar archive, one after another, none of them trusted."""

import bz2
import errno
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from ubp.data.zipcrypto import batches, open_many
from ubp.errors import InputError

MAX_DEPTH = 32
MAX_HEADER = 16 * 1024**2
STRONG = 0x40
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)
ODD = (struct.error, UnicodeError, ValueError, OverflowError, FileExistsError)


Opener = Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Member:
    """One file of an archive; `open` gives a context with a readable stream."""

    name: str
    size: int
    open: Opener


def members(archive: Path, password: str | None, check: Callable[[int, int], object]) -> Iterator[Member]:
    """The files of an archive, whose kind is told by its content.

    Parameters
    ----------
    archive : Path
        A zip file, or a tar file: plain, gzip, bzip2 or xz.
    password : str, optional
        For a protected zip.
    check : callable
        Called with (files, bytes) that are about to come; raises when that is too much.

    Raises
    ------
    InputError
        When the file is no archive, a member is not a plain file, or a password is missing.
    """
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive, password, check)
    else:
        yield from _tar_members(archive, check)


def safe_parts(name: str) -> list[str]:
    """The parts of a member's name.

    Raises
    ------
    InputError
        When the name is absolute, climbs, or cannot be the name of a file.
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    bad = plain.startswith("/") or ".." in parts or not parts or parts[0][1:2] == ":" or "\0" in name
    if bad or len(parts) > MAX_DEPTH or any(len(os.fsencode(part)) > 255 for part in parts):
        raise InputError(f"The archive has a member named {name[:200]!r}; expected names of files below its folder.")
    return parts


@contextmanager
def archive_errors(archive: Path, password: str | None = None) -> Iterator[None]:
    """Turn what the readers of archives raise into one sentence about the archive."""
    try:
        yield
    except InputError:
        raise
    except NotImplementedError as error:
        raise InputError(
            f"{archive} is packed in a way that cannot be read here ({error}); unpack it with another program."
        ) from error
    except (*DAMAGED, *ODD) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        wrong = "or the password is wrong " if password else ""
        raise InputError(f"{archive} is damaged {wrong}({reason}); remove it and fetch it again.") from error
    except OSError as error:
        # bzip2 gives no number; the other one is a seek to where a damaged directory points
        if error.errno not in (None, errno.EINVAL):
            raise
        raise InputError(f"{archive} is damaged; remove it and fetch it again.") from error
    except RuntimeError as error:
        if "password" not in str(error).lower():
            raise
        raise InputError(f"The password given does not open {archive}; give the right one.") from error


def _zip_members(archive: Path, password: str | None, check: Callable[[int, int], object]) -> Iterator[Member]:
    key = password.encode() if password else None
    with zipfile.ZipFile(archive) as opened:
        infos = [info for info in opened.infolist() if not info.is_dir()]
        total = sum(info.file_size for info in infos)
        check(len(infos), total)
        for info in infos:
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise _not_plain(archive, info.filename)
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & STRONG:
                raise NotImplementedError(f"method {info.compress_type}")
            if info.flag_bits & 1 and key is None:
                raise InputError(f"{archive} is protected; give its password.")
        for group in batches([info for info in infos if info.flag_bits & 1]):
            if key and len(group) > 1:
                for info, stream in open_many(archive, group, key):
                    yield Member(info.filename, info.file_size, cast(Opener, partial(nullcontext, stream)))
            else:
                yield from (
                    Member(info.filename, info.file_size, partial(opened.open, info, pwd=key)) for info in group
                )
        for info in infos:
            if not info.flag_bits & 1:
                yield Member(info.filename, info.file_size, partial(opened.open, info))


def _tar_members(archive: Path, check: Callable[[int, int], object]) -> Iterator[Member]:
    with _decompressed(archive) as stream:
        try:
            opened = tarfile.TarFile(fileobj=cast(Any, _Bounded(stream)))
        except (*DAMAGED, OSError) as error:
            raise InputError(f"{archive} is not a complete zip or tar archive; fetch it again.") from error
        for info in opened:
            if info.isdir():
                continue
            if not info.isreg():
                raise _not_plain(archive, info.name)
            check(1, info.size)
            yield Member(info.name, info.size, cast(Opener, partial(opened.extractfile, info)))


def _not_plain(archive: Path, name: str) -> InputError:
    return InputError(f"{archive} holds {name!r}, which is a link or device; expected plain files only.")


def _decompressed(archive: Path) -> IO[bytes]:
    with archive.open("rb") as handle:
        start = handle.read(6)
    for magic, opener in COMPRESSED.items():
        if start.startswith(magic):
            return cast(IO[bytes], opener(archive))
    return archive.open("rb")


class _Bounded:
    """A stream that refuses huge reads, because a tar header may claim any length and is read at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.stream.read(size)


COMPRESSED: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
