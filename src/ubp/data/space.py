"""Sizes in words, and room on the disk asked for before the work starts."""

import shutil
from pathlib import Path

from ubp.errors import InputError

RESERVE = 64 * 1024**2


def readable(n_bytes: float) -> str:
    """Size in decimal units, as disks and download pages give it.

    >>> readable(16_540), readable(7_200_000_000)
    ('16.5 kB', '7.2 GB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} bytes" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def require_space(folder: Path, n_bytes: int, what: str) -> None:
    """Check that the disk of `folder`, which may not exist yet, has room for `n_bytes` and a small reserve.

    Raises
    ------
    InputError
        When it has not.
    """
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < n_bytes + RESERVE:
        raise InputError(
            f"The disk of {folder} has {readable(free)} free, and {what} needs {readable(n_bytes + RESERVE)}; "
            "free some space or choose another folder."
        )
