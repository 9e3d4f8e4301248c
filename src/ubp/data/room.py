"""Whether memory and disk suffice, said before long work starts."""

import shutil
from pathlib import Path

from ubp.errors import InputError

SPARE = 200_000_000  # bytes left to others


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def check_room(out: Path, disk: int, memory: int) -> None:
    """Check that `disk` bytes fit beside `out`, and `memory` bytes into memory.

    Raises
    ------
    InputError
        Names what is missing.
    """
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < disk + SPARE:
        raise InputError(
            f"{place} has {free / 1e9:.1f} GB free and {out.name} needs {(disk + SPARE) / 1e9:.1f} GB; "
            "free some space, or prepare fewer subjects or channels."
        )
    available = available_memory()
    if available is not None and available < memory:
        raise InputError(
            f"This needs {memory / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are available; "
            "close other programs, or choose fewer channels or a lower rate."
        )
