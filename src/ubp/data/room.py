"""Whether memory and disk suffice, said before long work starts."""

import shutil
from pathlib import Path

from ubp.errors import InputError

SPARE = 200_000_000  # bytes left to others
CGROUP_FILES = (
    tuple(f"/sys/fs/cgroup/memory.{name}" for name in ("max", "current", "stat")),
    tuple(f"/sys/fs/cgroup/memory/memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat")),
)


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, by this machine and this container; None where nobody tells."""
    found = [value for value in (_machine_memory(), _container_memory()) if value is not None]
    return min(found, default=None)


def _machine_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _container_memory() -> int | None:
    """What is left of the limit of the control group, in which Docker and Slurm put a process."""
    for limit, used, statistics in CGROUP_FILES:
        try:
            free = int(Path(limit).read_text()) - int(Path(used).read_text())
            lines = dict(line.split() for line in Path(statistics).read_text().splitlines())
            # pages of files count as used, and are given back
            return max(0, free + int(lines.get("inactive_file", 0)))
        except (OSError, ValueError):  # absent, or "max": no limit
            continue
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
