"""Unpack an archive into a folder that is complete or absent, and that nothing in the archive can leave or flood."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ubp.data.members import archive_errors, members, safe_parts
from ubp.data.space import readable, require_space
from ubp.errors import InputError
from ubp.files import PARTIAL, atomic_folder, disk_errors

BLOCK = 1 << 20
SMALL = 16 * 1024**2
CLUTTER = "__MACOSX"

Advance = Callable[[int], object]
Files = dict[str, tuple[int, str]]


@dataclass(frozen=True)
class Limits:
    """How much an archive may grow.

    Parameters
    ----------
    max_bytes : int
        Bytes of everything unpacked.
    max_ratio : float
        Unpacked bytes per byte of the archive; 16 MiB are allowed to any archive.
    max_files : int
        Files in all.
    """

    max_bytes: int = 200 * 1000**3
    max_ratio: float = 100.0
    max_files: int = 1_000_000


@dataclass(frozen=True)
class Tree:
    """What a folder holds: number of files, their bytes, and one SHA-256 over the sorted names, sizes and contents."""

    files: int
    bytes: int
    sha256: str


def unpack(
    archive: Path,
    folder: Path,
    *,
    top: str | None = None,
    password: str | None = None,
    holds: str | None = None,
    limits: Limits | None = None,
    advance: Advance = lambda n: None,
) -> Tree:
    """Unpack a zip or tar archive into `folder`, which appears only when all of it is there.

    Parameters
    ----------
    archive : Path
        A zip file, or a tar file, compressed or not; told apart by content.
    folder : Path
        Where to; absent or empty.
    top : str, optional
        When the archive holds nothing but one folder of this name, its content goes directly into `folder`.
    password : str, optional
        For a protected zip.
    holds : str, optional
        Path that the folder must have in the end.
    limits : Limits, optional
        How much the archive may grow.
    advance : callable, optional
        Told the bytes of each block written.

    Returns
    -------
    Tree
        What was unpacked.

    Raises
    ------
    InputError
        When the archive is damaged, is not an archive, needs another password, has members that would leave the folder
        or are not plain files, grows beyond the limits or the disk, or when the folder holds something.
    """
    archive, folder = Path(archive), Path(folder)
    _sweep(folder)
    with disk_errors(folder), archive_errors(archive, password), atomic_folder(folder) as work:
        written = _write(archive, work, password, limits or Limits(), advance)
        if top and all(name.startswith(f"{top}/") for name in written):
            _promote(work, top)
            written = {name.partition("/")[2]: entry for name, entry in written.items()}
        if holds and not (work / holds).exists():
            raise InputError(f"{archive} does not hold {holds}; it is another archive than expected, remove it.")
    return _tree(written)


def describe(folder: Path, advance: Advance = lambda n: None) -> Tree:
    """The same description of a folder that is there already; reads every file."""
    found: Files = {}
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                found[path.relative_to(folder).as_posix()] = _copy(handle, None, path.stat().st_size, advance)
    return _tree(found)


def _tree(files: Files) -> Tree:
    total = hashlib.sha256()
    for name in sorted(files):
        size, sha256 = files[name]
        total.update(f"{name}\0{size}\0{sha256}\n".encode("utf-8", "surrogateescape"))
    return Tree(len(files), sum(size for size, _ in files.values()), total.hexdigest())


def _write(archive: Path, work: Path, password: str | None, limits: Limits, advance: Advance) -> Files:
    size = archive.stat().st_size
    allowed = int(min(limits.max_bytes, max(SMALL, limits.max_ratio * size)))
    total = 0
    written: Files = {}
    folders: set[str] = set()

    def check(files: int, coming: int) -> None:
        if total + coming > allowed or len(written) + files > limits.max_files:
            raise InputError(
                f"{archive} ({readable(size)}) unpacks to {readable(total + coming)} or more in {len(written) + files} "
                f"files or more, and {readable(allowed)} in {limits.max_files} files are allowed; it is not what it "
                "should be, remove it."
            )
        require_space(work, coming, f"unpacking {archive.name}")

    for member in members(archive, password, check):
        parts = safe_parts(member.name)
        if parts[0] == CLUTTER:
            continue
        name = "/".join(parts)
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if name in written or name in folders or not above.isdisjoint(written):
            raise InputError(f"{archive} holds {name!r} twice, or as a file and as a folder; expected it once.")
        folders |= above
        path = work.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, path.open("xb") as target:
            written[name] = _copy(source, target, member.size, advance)
        if written[name][0] != member.size:
            raise InputError(f"{archive} is damaged: {name!r} is not as long as the archive says; fetch it again.")
        total += member.size
    if not written:
        raise InputError(f"{archive} holds no files; expected an archive with some.")
    return written


def _copy(source: IO[bytes], target: IO[bytes] | None, size: int, advance: Advance) -> tuple[int, str]:
    """Copy at most one byte more than `size`, which is enough to see that there is more."""
    total, left = hashlib.sha256(), size + 1
    while left and (block := source.read(min(BLOCK, left))):
        total.update(block)
        if target:
            target.write(block)
        left -= len(block)
        advance(len(block))
    return size + 1 - left, total.hexdigest()


def _promote(work: Path, top: str) -> None:
    """Move what is in `work/top` up to `work`, also when it holds something of the same name."""
    aside = work / f"{top}{PARTIAL}"
    (work / top).rename(aside)
    for path in aside.iterdir():
        path.rename(work / path.name)
    aside.rmdir()


def _sweep(folder: Path) -> None:
    """Remove what a killed process left of an attempt to unpack into `folder`."""
    for rest in folder.parent.glob(f"{folder.name}.*{PARTIAL}"):
        pid = rest.name.removesuffix(PARTIAL).rpartition(".")[2]
        if rest.is_dir() and pid.isdigit():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                shutil.rmtree(rest, ignore_errors=True)
            except PermissionError:
                continue
