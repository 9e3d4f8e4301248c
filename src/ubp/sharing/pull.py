"""Take a model that others shared: only known files, each of the size and digest promised, all of them or none."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from rich.progress import Progress, TaskID

from ubp.data.download import Retry, transfer_progress
from ubp.data.space import require_space
from ubp.description import Description
from ubp.errors import InputError
from ubp.files import PARTIAL, atomic_folder, check_absent, digest
from ubp.sharing import hub
from ubp.sharing.manifest import CARD, MANIFEST, Manifest, receipt
from ubp.sharing.pack import check_shared
from ubp.sharing.places import Place, Repository, source_place
from ubp.sharing.sources import FolderSource, Source, WebSource


def pull(
    source: Path | str, out: Path | str | None = None, *, quiet: bool = False, retry: Retry | None = None
) -> tuple[Description, Path, list[str]]:
    """Bring a shared model to a folder of this machine; stopped, it continues.

    Nothing is unpickled, and no file is taken but those that a model has. Their sizes are bounded, their digests are
    compared with `files.json`, and the model is read before the folder gets its name.

    Parameters
    ----------
    source : path or str
        ``hf://owner/name[@revision]`` or ``owner/name``, an address of a folder on a web server, or a folder.
    out : path, optional
        The model's new folder; by default the last part of the source's name, here.
    quiet : bool
        No progress.
    retry : Retry, optional
        Patience with the network.

    Returns
    -------
    (Description, Path, list of str)
        The model, its folder, and sentences about what was left out.

    Raises
    ------
    InputError
        When there is no such model, a file is not what was pushed, the model is damaged, of a newer version, or names
        places of another machine, or the folder is there already.
    UbpError
        When the server cannot be reached.
    """
    place = source_place(str(source))
    folder = Path(out) if out is not None else Path(_last_part(place))
    with _opened(place, retry or Retry()) as (files, where):
        with tempfile.TemporaryDirectory(prefix="ubp-pull-") as scratch:
            files.manifest(Path(scratch) / MANIFEST)
            content = (Path(scratch) / MANIFEST).read_bytes()
            manifest = Manifest.read(Path(scratch) / MANIFEST, f"{where}/{MANIFEST}")
        if _is_here(folder, manifest):
            return check_shared(folder), folder, [f"{folder} has that model already."]
        check_absent(folder)
        require_space(folder, manifest.size, "this model")
        with atomic_folder(folder, digest("pull", where, content)) as partial:
            notes = _fill(partial, files, manifest, quiet)
            (partial / MANIFEST).write_bytes(content)
            with _told_of(partial, where):
                about = check_shared(partial)
        return about, folder, notes


def _fill(partial: Path, files: Source, manifest: Manifest, quiet: bool) -> list[str]:
    """Bring every file that is not there yet."""
    notes = []
    with transfer_progress(quiet) as bar:
        for name, wanted in manifest.files.items():
            path = partial / name
            if path.is_file() and receipt(path) == wanted:
                continue
            task = bar.add_task(name, total=wanted.size)
            try:
                files.file(name, wanted, path, _shown(bar, task))
            except InputError:
                # people edit cards where they lie, and nothing reads them
                if name != CARD:
                    raise
                notes.append(f"{CARD} is not the one that was pushed, and was left out.")
                for left in partial.glob(f"{CARD}{PARTIAL}*"):
                    left.unlink()
    return notes


def _shown(bar: Progress, task: TaskID) -> Callable[[int], None]:
    """Shows the bytes that have come."""
    return lambda here: bar.update(task, completed=here)


def _is_here(folder: Path, manifest: Manifest) -> bool:
    """Whether a folder holds these files."""
    needed = {name: wanted for name, wanted in manifest.files.items() if name != CARD}
    return all((folder / name).is_file() and receipt(folder / name) == wanted for name, wanted in needed.items())


def _last_part(place: Place) -> str:
    if isinstance(place, Repository):
        return place.name.rpartition("/")[2]
    name = place.resolve().name if isinstance(place, Path) else PurePosixPath(urlsplit(place.url).path).name
    if not name or name in (".", "..") or "%" in name:
        raise InputError(f"{place} has no name for a folder at its end; give one with --out.")
    return name


@contextlib.contextmanager
def _opened(place: Place, retry: Retry) -> Iterator[tuple[Source, str]]:
    """The source, and its name with a revision resolved."""
    if isinstance(place, Path):
        yield FolderSource(place), str(place)
        return
    import requests

    with requests.Session() as session:
        if isinstance(place, Repository):
            address, headers = hub.files_of(place)
            session.headers.update(headers)
        else:
            address = place
        yield WebSource(address, session, retry), str(address)


@contextlib.contextmanager
def _told_of(partial: Path, where: str) -> Iterator[None]:
    """Name the source instead of the unfinished folder in what is raised."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(partial), where)) from error
