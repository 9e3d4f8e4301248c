"""Whether FIF files are whole, told from their chain of tags before anything else reads them."""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePath

from ubp.errors import InputError

# kind, type, bytes of content, and where the next tag is: right behind (0), nowhere (-1) or at a position
TAG = struct.Struct(">iiii")
BEHIND, NOWHERE = 0, -1
FILE_ID, DIRECTORY_POINTER, ROLE, FILE_NUMBER, FILE_NAME = 100, 101, 115, 117, 118
SAMPLES = (208, 209)  # first and last of an epoch
NAMES_OTHERS = (ROLE, FILE_NUMBER, FILE_NAME)
NEXT_FILE = 2


def check_whole(first: Path) -> tuple[Path, ...]:
    """Check the files of one recording: each ends where its last tag does, and none is missing.

    Parameters
    ----------
    first : Path
        The file that names the second, which names the third, and so on.

    Returns
    -------
    tuple of Path
        All of them.

    Raises
    ------
    InputError
        Names the file that is absent, cut short, or not FIF.
    """
    files = [first]
    while True:
        path = files[-1]
        if not path.is_file():
            before = f"{files[-2].name} continues there" if len(files) > 1 else "expected a FIF file there"
            raise InputError(f"{path} does not exist; {before}, so fetch it.")
        name = _next_file(path)
        if name is None:
            return tuple(files)
        following = path.parent / name
        if PurePath(name).name != name or following in files:
            raise InputError(f"{path} continues in {name!r}; expected another file in the same folder.")
        files.append(following)


def check_alone(path: Path) -> None:
    """Check a FIF file that nobody vouches for, and make it safe to open: mne then reads this file and no other.

    mne opens whatever file the content names as the next, anywhere on the disk, and believes a directory of tags at the
    end, which may show other tags than the chain has. So a file that names others is refused, and the pointer to the
    directory is taken out, so that mne follows the chain that is checked here. Sample numbers that do not fit the
    file are refused, because mne makes an array of times of them first.

    Parameters
    ----------
    path : Path
        A file of our own: it is changed in place.

    Raises
    ------
    InputError
        When it is not FIF, cut short, names another file, or declares epochs longer than the file.
    """
    samples: dict[int, int] = {}
    pointers = []
    for kind, position, content in _tags(path, "expected epochs as mne saves them"):
        if kind in NAMES_OTHERS:
            raise InputError(
                f"{path} continues in another file; expected whole epochs in one file, such as mne saves below 2 GB."
            )
        if kind == DIRECTORY_POINTER:
            pointers.append(position + TAG.size)
        elif kind in SAMPLES:
            samples[kind] = int.from_bytes(content(), "big", signed=True)
            longest = max(samples.values(), default=0) - min(samples.values(), default=0)
            if max(longest, *map(abs, samples.values())) > path.stat().st_size:
                raise InputError(f"{path} declares longer epochs than it can hold; expected a whole file of epochs.")
    with path.open("r+b") as handle:
        for pointer in pointers:
            handle.seek(pointer)
            handle.write(NOWHERE.to_bytes(4, "big", signed=True))


def _next_file(path: Path) -> str | None:
    """Walk over all tags of a file; the name of the file that it continues in."""
    role, name = None, None
    for kind, _, content in _tags(path):
        if kind == ROLE:
            role = int.from_bytes(content(), "big")
        elif kind == FILE_NAME and role == NEXT_FILE:
            name = content().decode("latin-1")
    return name


def _tags(path: Path, remedy: str = "fetch it again") -> Iterator[tuple[int, int, Callable[[], bytes]]]:
    """Kind and position of every tag in the chain, and what reads its content."""
    size, position = path.stat().st_size, 0
    with path.open("rb") as handle:
        while True:
            handle.seek(position)
            header = handle.read(TAG.size)
            kind, length, following = FILE_ID, 0, NOWHERE
            if len(header) == TAG.size:
                kind, _, length, following = TAG.unpack(header)
            end = position + TAG.size + length
            if (position == 0 and kind != FILE_ID) or length < 0 or following < NOWHERE:
                raise InputError(f"{path} is not a FIF file, or damaged at byte {position}; {remedy}.")
            if end > size:
                raise InputError(f"{path} is cut short: it ends at byte {size} of at least {end}; {remedy}.")
            yield kind, position, partial(handle.read, length)
            if following == NOWHERE:
                return
            if BEHIND < following < end:
                raise InputError(f"{path} is damaged at byte {position}; {remedy}.")
            position = following or end
