"""Whether FIF files are whole, told from their chain of tags before anything else reads them."""

import struct
from pathlib import Path, PurePath

from ubp.errors import InputError

# kind, type, bytes of content, and where the next tag is: right behind (0), nowhere (-1) or at a position
TAG = struct.Struct(">iiii")
BEHIND, NOWHERE = 0, -1
FILE_ID, ROLE, FILE_NAME = 100, 115, 118
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


def _next_file(path: Path) -> str | None:
    """Walk over all tags of a file; the name of the file that it continues in."""
    size, position, role, name = path.stat().st_size, 0, None, None
    with path.open("rb") as handle:
        while True:
            handle.seek(position)
            header = handle.read(TAG.size)
            kind, length, following = FILE_ID, 0, NOWHERE
            if len(header) == TAG.size:
                kind, _, length, following = TAG.unpack(header)
            end = position + TAG.size + length
            if (position == 0 and kind != FILE_ID) or length < 0 or following < NOWHERE:
                raise InputError(f"{path} is not a FIF file, or damaged at byte {position}; fetch it again.")
            if end > size:
                raise InputError(f"{path} is cut short: it ends at byte {size} of at least {end}; fetch it again.")
            if kind == ROLE:
                role = int.from_bytes(handle.read(length), "big")
            elif kind == FILE_NAME and role == NEXT_FILE:
                name = handle.read(length).decode("latin-1")
            if following == NOWHERE:
                return name
            if BEHIND < following < end:
                raise InputError(f"{path} is damaged at byte {position}; fetch it again.")
            position = following or end
