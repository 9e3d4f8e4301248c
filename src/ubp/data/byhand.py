"""Find, among files a person downloaded, the ones a dataset asks for, and take them over."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from ubp.data.sources import Source
from ubp.errors import InputError
from ubp.files import PARTIAL, atomic_folder, disk_errors, sync_folder


def find(folder: Path, wanted: Sequence[Source], all_sources: Sequence[Source]) -> dict[Source, Path]:
    """Match files and unpacked folders below `folder` with the wanted sources by name.

    A file belongs to the source whose path it shares most of, from the end: `raw/sub-01.zip` is never taken for the
    `sub-01.zip` of another part, and a bare `sub-01.zip` is taken when only one wanted source has that name.

    Raises
    ------
    InputError
        When the folder does not exist, or a file fits two wanted sources equally well, or two files one source.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected the one with the files downloaded by hand.")
    found: dict[Source, list[tuple[int, Path]]] = {}
    for path in _paths(folder):
        scores = {source: _score(path, folder, source) for source in all_sources}
        best = max(scores.values(), default=0)
        fits = [source for source in wanted if best and scores[source] == best]
        if len(fits) > 1:
            places = " or ".join(source.local for source in fits)
            raise InputError(f"{path} may be {places}; put it into a folder named like the part it belongs to.")
        for source in fits:
            found.setdefault(source, []).append((best, path))
    chosen = {}
    for source, candidates in found.items():
        most = max(score for score, _ in candidates)
        paths = sorted(path for score, path in candidates if score == most)
        if len(paths) > 1:
            raise InputError(f"{paths[0]} and {paths[1]} may both be {source.local}; leave one of them in {folder}.")
        chosen[source] = paths[0]
    return chosen


def take_file(source: Path, target: Path) -> None:
    """Link `source` to `target`, or copy it when they are on different disks; complete or absent."""
    partial = target.with_name(f"{target.name}.{os.getpid()}{PARTIAL}")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _link(source, partial)
            partial.replace(target)
            sync_folder(target.parent)
        finally:
            partial.unlink(missing_ok=True)


def take_folder(source: Path, target: Path) -> None:
    """The same for every plain file of a folder."""
    with atomic_folder(target) as work:
        for path in source.rglob("*"):
            if path.is_symlink() and not path.resolve().is_relative_to(source.resolve()):
                raise InputError(f"{path} is a link out of {source}; expected plain files.")
            if path.is_file():
                place = work / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(path.resolve(), place)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _paths(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*folders, *files]):
            yield Path(place, name)


def _score(path: Path, folder: Path, source: Source) -> int:
    """How many parts at the end of the path agree with the source's; 0 when the name is not one of its names."""
    parts = path.relative_to(folder).parts
    if path.is_dir():
        if not source.folder or parts[-1] not in (source.top, PurePosixPath(source.folder).name):
            return 0
        if source.holds and not (path / source.holds).exists():
            return 0
        ours = PurePosixPath(source.folder).parts
    elif parts[-1] not in source.names or path.name.endswith(PARTIAL):
        return 0
    else:
        ours = PurePosixPath(source.local).parts
    score = 1
    for mine, theirs in zip(reversed(ours[:-1]), reversed(parts[:-1]), strict=False):
        if mine != theirs:
            break
        score += 1
    return score
