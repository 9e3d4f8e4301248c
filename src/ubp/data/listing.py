"""What a fetch would bring: files, sizes, and the room they need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ubp.data.remote import remote_size
from ubp.data.sources import Source
from ubp.data.space import readable, require_space
from ubp.files import PARTIAL
from ubp.progress import console

if TYPE_CHECKING:
    from requests import Session


@dataclass(frozen=True)
class Listed:
    """One file of the plan.

    Parameters
    ----------
    source : Source
        Its row in the table of sources.
    path : Path
        Where the file or unpacked folder will be.
    url : str
        Where it comes from.
    size : int or None
        Bytes of the download; None when unknown.
    present : int
        Bytes of the download that are here.
    done : bool
        Whether nothing is left to do but to check it.
    """

    source: Source
    path: Path
    url: str
    size: int | None
    present: int
    done: bool

    @property
    def coming(self) -> int:
        """Bytes still to download, as far as known."""
        return 0 if self.done else max(0, (self.size or 0) - self.present)


def is_there(source: Source, out: Path) -> bool:
    """Whether the file, or a folder with something in it, is in its final place."""
    final = out / source.final
    return final.is_file() or (final.is_dir() and any(final.iterdir()))


def plan(
    wanted: Sequence[Source], out: Path, url_of: Callable[[Source], str], session: "Session", timeout: float = 30.0
) -> list[Listed]:
    """What is to be done; sizes are asked of the servers, and unknown where one cannot be reached."""
    import requests

    listed, silent = [], set()
    for source in wanted:
        done, local = is_there(source, out), out / source.local
        partial = local.with_name(local.name + PARTIAL)
        present = next((path.stat().st_size for path in (local, partial) if path.is_file()), 0)
        size = present if local.is_file() else source.size
        if size is None and not done and source.base not in silent:
            try:
                size = remote_size(url_of(source), session, timeout)
            except requests.RequestException:
                silent.add(source.base)
        listed.append(Listed(source, out / source.final, url_of(source), size, present, done))
    return listed


def check_space(listed: Sequence[Listed], out: Path) -> None:
    """Ask for room for all downloads, and once more for the largest archive, beside which its content will lie.

    Raises
    ------
    InputError
        When the disk is too small.
    """
    archives = [item.size or 0 for item in listed if item.source.folder and not item.done]
    total = sum(item.coming for item in listed) + max(archives, default=0)
    require_space(out, total, f"fetching {sum(not item.done for item in listed)} files")


def total_text(listed: Sequence[Listed]) -> str:
    """The bytes to come, in words."""
    unknown = sum(item.size is None for item in listed if not item.done)
    text = readable(sum(item.coming for item in listed))
    return f"{text} and {unknown} files of unknown size" if unknown else text


def show(listed: Sequence[Listed]) -> None:
    """Print one line per file: size, place, address."""
    for item in listed:
        size = "is here" if item.done else "size unknown" if item.size is None else readable(item.size)
        console.print(f"{size:>12}  {item.path}  {item.url}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"{sum(not item.done for item in listed)} to fetch: {total_text(listed)}.", highlight=False)
