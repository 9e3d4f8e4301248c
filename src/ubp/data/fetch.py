"""Get the files of a public dataset: listed, downloaded, checked and unpacked, or taken from a folder."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from ubp.data.archives import Tree, unpack
from ubp.data.byhand import find, take_file, take_folder
from ubp.data.checksums import Checksums
from ubp.data.download import Receipt, Retry, download, transfer_progress
from ubp.data.listing import check_space, is_there, plan, show, total_text
from ubp.data.sources import THINGS_PASSWORD, Dataset, Source, dataset
from ubp.errors import InputError
from ubp.progress import messages

if TYPE_CHECKING:
    from requests import Session


def fetch(
    name: str,
    out: Path,
    parts: Sequence[str] | None = None,
    subjects: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    from_folder: Path | None = None,
    quiet: bool = False,
    sources: Mapping[str, str] | None = None,
    password: str | None = None,
    keep_archives: bool = False,
    retry: Retry | None = None,
) -> list[Path]:
    """Fetch a dataset into a folder; what is there already is checked and not fetched again.

    Checksums are recorded in `checksums.json` when a file first arrives and compared on every later run. Archives are
    unpacked and then removed. A run that was stopped continues where it was.

    Parameters
    ----------
    name : str
        "things-eeg2" or "things-meg".
    out : Path
        The folder.
    parts, subjects : sequence of str, optional
        Which files; by default the dataset's default parts, and all subjects.
    dry_run : bool
        Only list files and sizes.
    from_folder : Path, optional
        Take the files from this folder, into which a person downloaded them, instead of the network. They are linked,
        or copied from another disk; archives there are unpacked and left where they are.
    quiet : bool
        Show no progress.
    sources : mapping of str to str, optional
        Other base addresses, for a mirror, by the keys of `Dataset.bases`.
    password : str, optional
        Of the THINGS images; giving it means that their terms were read and accepted. Else the environment variable
        UBP_THINGS_PASSWORD. It is never stored.
    keep_archives : bool
        Keep downloaded archives after they were unpacked.
    retry : Retry, optional
        Patience with the network.

    Returns
    -------
    list of Path
        Files and unpacked folders, in the order of the table.

    Raises
    ------
    InputError
        When a name is unknown, the password is missing or wrong, the disk is too small, a file found is not the one
        recorded, or an archive is damaged.
    UbpError
        When a file cannot be downloaded; the sentence says what to download by hand and where to put it.
    """
    import requests

    out, about, retry = Path(out), dataset(name), retry or Retry()
    wanted = about.select(parts, subjects)
    urls = _addresses(about, sources or {})
    final = [out / source.final for source in wanted]
    with requests.Session() as session:
        if dry_run:
            show(plan(wanted, out, urls, session, retry.timeout))
            return final
        given = {} if from_folder is None else _given(Path(from_folder), wanted, about, out)
        password = password or os.environ.get(THINGS_PASSWORD)
        if not password:
            _check_licence(about, wanted, {source for source in wanted if is_there(source, out)}, given)
        if from_folder is None:
            listed = plan(wanted, out, urls, session, retry.timeout)
            check_space(listed, out)
            if not quiet:
                messages.print(f"{about.title}; {about.licence}; to fetch: {total_text(listed)}.", highlight=False)
                if any(item.size is None and not item.done for item in listed):
                    messages.print("Note: room on the disk is checked as far as sizes are known.", highlight=False)
        with transfer_progress(quiet) as bar:
            for source in wanted:
                step = _Step(source, out, urls(source), Checksums(out), bar)
                step.run(given.get(source), session, retry, password, keep_archives)
    return final


@dataclass(frozen=True)
class _Step:
    """One source on its way to its final place."""

    source: Source
    out: Path
    url: str
    checksums: Checksums
    bar: Progress

    def run(
        self, given: Path | None, session: "Session", retry: Retry, password: str | None, keep_archives: bool
    ) -> None:
        source, final, local = self.source, self.out / self.source.final, self.out / self.source.local
        if is_there(source, self.out) or (given and given.is_dir()):
            if given and not is_there(source, self.out):
                take_folder(given, final)
            if source.holds and not (final / source.holds).exists():
                raise InputError(f"{final} has no {source.holds}; remove it, and run the same command again.")
            found = self._check(source.final, final, None if source.folder else source.sha256)
            self.checksums.record(source.final, found)
            return
        archive = given or local
        if archive.exists():
            receipt = self._check(source.local, archive, source.sha256)
        else:
            receipt = self._download(local, session, retry)
        if source.folder:
            self._unpack(archive, final, password if source.protected else None)
            if archive == local and not keep_archives:
                local.unlink()
        elif given:
            take_file(given, local)
        # last, so that the checksum of an archive that cannot be unpacked does not stand against a better one
        self.checksums.record(source.local, receipt)

    def _check(self, name: str, path: Path, known: str | None = None) -> Receipt | Tree:
        task = self.bar.add_task(f"{name}, checking", total=None)
        found = self.checksums.check(name, path, known, lambda n: self.bar.update(task, advance=n))
        self.bar.remove_task(task)
        return found

    def _download(self, local: Path, session: "Session", retry: Retry) -> Receipt:
        source = self.source
        task = self.bar.add_task(source.local, total=source.size)
        receipt = download(
            self.url,
            local,
            session=session,
            size=source.size,
            sha256=source.sha256 or (self.checksums.sha256(source.local) if source.fixed else None),
            retry=retry,
            advance=lambda here, total: self.bar.update(task, completed=here, total=total),
            otherwise=f"download it by hand (see {source.page}), put it at {local}, and run the same command again",
        )
        self.bar.remove_task(task)
        return receipt

    def _unpack(self, archive: Path, final: Path, password: str | None) -> None:
        source = self.source
        task = self.bar.add_task(f"{source.folder}, unpacking", total=None)
        tree = unpack(
            archive,
            final,
            top=source.top,
            password=password,
            holds=source.holds,
            advance=lambda n: self.bar.update(task, advance=n),
        )
        self.bar.remove_task(task)
        self.checksums.record(source.final, tree)


def _addresses(about: Dataset, other: Mapping[str, str]) -> Callable[[Source], str]:
    for key in other:
        if key not in about.bases:
            raise InputError(f"{about.name} has no base address {key!r}; choose among {', '.join(about.bases)}.")
    bases = {**about.bases, **other}
    return lambda source: f"{bases[source.base].rstrip('/')}/{source.remote}"


def _check_licence(
    about: Dataset, wanted: Sequence[Source], here: Collection[Source], given: Mapping[Source, Path]
) -> None:
    for source in wanted:
        unpacked = source in here or (source in given and given[source].is_dir())
        if source.protected and not unpacked:
            others = " ".join(dict.fromkeys(s.part for s in about.sources if not s.protected))
            raise InputError(
                f"The {source.part} of {about.name} are protected: read password_images.txt at {source.page}, and if "
                f"you accept the terms give the password in it with --password or in {THINGS_PASSWORD} (it is not "
                f"stored), or leave them out with --parts {others}."
            )


def _given(folder: Path, wanted: Sequence[Source], about: Dataset, out: Path) -> dict[Source, Path]:
    missing = [s for s in wanted if not is_there(s, out) and not (out / s.local).exists()]
    found = find(folder, missing, about.sources)
    absent = [source for source in missing if source not in found]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputError(
            f"{folder} has no {absent[0].local}{more}; download it from {absent[0].page} and put it there, or choose "
            "fewer parts or subjects."
        )
    return found
