"""Files and folders that are either complete or absent."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ubp.errors import InputError, UbpError

PARTIAL = ".partial"
RESUME = "resume"


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into one sentence that names `path`.

    Raises
    ------
    UbpError
        When the disk is full, or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UbpError(
                f"The disk is full while writing {path}; free some space and run the same command again, "
                "finished work is kept."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UbpError(f"{path} cannot be written ({error.strerror}); choose a folder you may write to.") from error
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST):
            raise InputError(f"{path} cannot be written ({error.strerror}); choose another name.") from error
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _claimed(partial: Path, path: Path, flags: int) -> Iterator[int]:
    """Open what a writer fills, for this process alone; what a dead writer left there is taken over."""
    while True:
        handle = os.open(partial, flags, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # another writer may have renamed it between the two calls
            if partial.exists() and os.path.samestat(os.fstat(handle), partial.stat()):
                yield handle
                return
        except BlockingIOError as error:
            raise InputError(f"Another process is writing {path}; wait for it, or choose another name.") from error
        finally:
            os.close(handle)


@contextlib.contextmanager
def locked(lock: Path, busy: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock file, whose folder is created; the kernel frees it when its process ends, however that happens.

    Parameters
    ----------
    lock : Path
    busy : callable
        Called before another holder is waited for; it may raise instead.

    Raises
    ------
    UbpError
        When the file system has no locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise UbpError(
                f"{lock.parent} cannot be locked ({error.strerror}); use a folder on a disk that has locks."
            ) from error
        yield


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file that appears under its own name only when the block ends well.

    Parameters
    ----------
    path : Path
        Final name; its folder is created.
    mode : str
        `"wb"` or `"w"` (UTF-8).

    Raises
    ------
    InputError
        When another process is writing the same file.
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _claimed(partial, path, os.O_RDWR | os.O_CREAT):
            encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
            try:
                with partial.open(mode, encoding=encoding, newline=newline) as handle:
                    yield handle
                    handle.flush()
                    os.fsync(handle.fileno())
                partial.replace(path)
                sync_folder(path.parent)
            finally:
                partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic_file(path, "w") as handle:
        handle.write(text)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON to `path` atomically."""
    with atomic_file(path, "w") as handle:
        json.dump(content, handle, indent=2)
        handle.write("\n")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What the file is, for the message of the error.

    Raises
    ------
    InputError
        When the file is absent, not JSON, or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; expected {what} there.") from error
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as {what} ({error}).") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; expected {what}, a JSON object.")
    return content


def check_absent(path: Path) -> None:
    """Check that a folder can be made there.

    Raises
    ------
    InputError
        When `path` exists already and holds something.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already; choose another name or remove it first.")


@contextlib.contextmanager
def atomic_folder(path: Path, resume_key: str | None = None) -> Iterator[Path]:
    """Fill a folder that appears under its own name only when the block ends well.

    Parameters
    ----------
    path : Path
        Final name, absent or an empty folder.
    resume_key : str, optional
        Digest of all that decides the content. With it, what a stopped block left is given to the next block with the
        same key, and removed before one with another key; bad input leaves nothing in either case. The block may keep
        records of its progress in the folder `RESUME` inside, which is removed at the end.

    Raises
    ------
    InputError
        When `path` exists already and holds something.
    """
    path = Path(path)
    check_absent(path)
    partial = path.with_name(path.name + PARTIAL)
    with disk_errors(path):
        partial.mkdir(parents=True, exist_ok=True)
        with _claimed(partial, path, os.O_RDONLY):
            keep = False
            try:
                _clear_unless(partial, resume_key)
                yield partial
                for file in partial.rglob("*"):
                    # a hard link is a file that was on the disk before
                    if file.is_file() and file.stat().st_nlink == 1:
                        with file.open("rb") as handle:
                            os.fsync(handle.fileno())
                # last, so that a stop before it can be resumed
                shutil.rmtree(partial / RESUME, ignore_errors=True)
                if path.exists():
                    path.rmdir()
                partial.replace(path)
                sync_folder(path.parent)
            except BaseException as error:
                keep = resume_key is not None and not isinstance(error, InputError)
                raise
            finally:
                if not keep:
                    shutil.rmtree(partial, ignore_errors=True)


def _clear_unless(partial: Path, key: str | None) -> None:
    """Empty a folder, unless it was begun with this key; then record the key."""
    record = partial / RESUME / "key"
    if key is not None and record.is_file() and record.read_text(encoding="utf-8") == key:
        return
    for left in partial.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
    if key is not None:
        write_text(record, key)


def inside(folder: Path, relative: str) -> Path:
    """Path of `relative` below `folder`.

    Raises
    ------
    InputError
        When the path is absolute or leaves the folder, symbolic links followed.
    """
    path = folder / relative
    try:
        leaves = not path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError) as error:
        raise InputError(f"The path {relative[:80]!r} cannot be used ({error}); rename the file.") from error
    if leaves:
        raise InputError(f"The path {relative!r} leaves {folder}; expected a path below that folder.")
    return path


def digest(*parts: bytes | str) -> str:
    """Hex SHA-256 of the parts, each preceded by its length so that no two lists of parts collide."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()
