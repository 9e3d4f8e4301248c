"""Which files of a BIDS dataset are recordings of images seen, and what the dataset says of itself."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ubp.config import unknown
from ubp.errors import InputError, UbpError
from ubp.files import read_json

EXTENSIONS = {
    "meg": (".fif", ".ds", ".con", ".sqd", ".kdf"),
    "eeg": (".vhdr", ".edf", ".bdf", ".set", ".cnt", ".lay", ".cdt"),
    "ieeg": (".vhdr", ".edf", ".set", ".lay"),
}
EPOCHS = ("_epo.fif", "_epo.fif.gz")
ENTITIES = ("session", "task", "acquisition", "run", "processing", "description")


@dataclass(frozen=True)
class BidsSelection:
    """Which recordings of a BIDS dataset are meant.

    Parameters
    ----------
    task : str
        Needed where there are several.
    session : tuple of str
        By default all.
    datatype : str
        meg, eeg or ieeg; needed where a subject has several.
    processing : str
        Of files of epochs (proc-), where there are several.
    description : str
        Of files of epochs (desc-), where there are several.
    """

    task: str | None = None
    session: tuple[str, ...] | None = None
    datatype: str | None = None
    processing: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class BidsFile:
    """A recording (a run, or a file of epochs) and what its name says."""

    path: Path
    subject: str
    datatype: str
    session: str | None = None
    task: str | None = None
    acquisition: str | None = None
    run: str | None = None
    processing: str | None = None
    description: str | None = None

    @property
    def epochs(self) -> bool:
        """Whether it is a file of epochs, from a derivative dataset."""
        return self.path.name.endswith(EPOCHS)


def mne_bids() -> Any:
    """The library.

    Raises
    ------
    UbpError
        When it is not installed.
    """
    try:
        import mne_bids as library
    except ImportError as error:
        raise UbpError("Reading BIDS needs mne-bids; install it with: pip install 'ubp[bids]'.") from error
    return library


def find_recordings(
    root: Path, selection: BidsSelection, subjects: Sequence[str] | None = None
) -> dict[str, list[BidsFile]]:
    """Files of every subject, in the order of sessions and runs; files of epochs where there are any, else runs.

    Raises
    ------
    InputError
        When there is none, a name is unknown, or a choice is left open.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected a BIDS dataset with a dataset_description.json.")
    found = _list(root)
    if not found:
        raise InputError(
            f"{root} has no recording; expected files such as sub-01/meg/sub-01_task-NAME_meg.fif, "
            f"sub-01/eeg/sub-01_task-NAME_eeg.vhdr, or sub-01/meg/sub-01_task-NAME{EPOCHS[0]}."
        )
    if subjects is not None:
        wanted = [name if name.startswith("sub-") else f"sub-{name}" for name in subjects]
        known = sorted({file.subject for file in found})
        for name in wanted:
            if name not in known:
                raise unknown(f"subject of {root}", name, known)
        found = [file for file in found if file.subject in wanted]
    for entity, asked in dataclasses.asdict(selection).items():
        if asked is not None:
            found = _select(root, found, entity, asked)
    if any(file.epochs for file in found):
        found = [file for file in found if file.epochs]
    for entity in ("task", "datatype"):
        values = sorted({str(getattr(file, entity)) for file in found})
        if len(values) > 1:
            raise InputError(f"{root} has recordings of the {entity}s {', '.join(values)}; choose one of them.")
    result: dict[str, list[BidsFile]] = {}
    seen: dict[tuple[str | None, ...], BidsFile] = {}
    for file in found:
        result.setdefault(file.subject, []).append(file)
        key = (file.subject, file.session, file.acquisition, file.run)
        other = seen.setdefault(key, file)
        if other is not file:
            raise InputError(
                f"{other.path} and {file.path} are of the same run; choose one by processing or description, or leave "
                "one of them out."
            )
    return result


def _list(root: Path) -> list[BidsFile]:
    library = mne_bids()
    found = []
    for datatype, extensions in EXTENSIONS.items():
        paths = {path for pattern in ("sub-*", "sub-*/ses-*") for path in root.glob(f"{pattern}/{datatype}/sub-*")}
        for path in sorted(paths):
            raw = path.stem.endswith(f"_{datatype}") and path.suffix.lower() in extensions
            if not raw and not path.name.endswith(EPOCHS):
                continue
            entities = library.get_entities_from_fname(path.name, on_error="ignore")
            # calibration files and the like have no task; the first file of a split recording leads to the others
            if entities["task"] is None or entities["split"] not in (None, "01", "1"):
                continue
            if entities["subject"] == "emptyroom":
                continue
            rest = {name: entities[name] for name in ENTITIES}
            found.append(BidsFile(path, f"sub-{entities['subject']}", datatype, **rest))
    return sorted(found, key=lambda file: (file.subject, file.session or "", file.run or "", file.path.name))


def _select(root: Path, files: list[BidsFile], entity: str, asked: str | tuple[str, ...]) -> list[BidsFile]:
    values = [asked] if isinstance(asked, str) else list(asked)
    known = sorted({str(getattr(file, entity)) for file in files if getattr(file, entity) is not None})
    for value in values:
        if value not in known:
            raise unknown(f"{entity} of {root}", value, known or ["(none)"])
    return [file for file in files if getattr(file, entity) in values]


def raw_root(root: Path) -> Path:
    """The dataset that a derivative in its `derivatives` folder was made from; otherwise `root` itself."""
    parent = root.absolute().parent
    return parent.parent if parent.name == "derivatives" else root


def stimuli(root: Path) -> Path:
    """The folder that values of stim_file are relative to.

    Raises
    ------
    InputError
        When there is none.
    """
    for place in (root, raw_root(root)):
        if (place / "stimuli").is_dir():
            return place / "stimuli"
    raise InputError(f"{root} has no folder stimuli; name the folder of images.")


def events_of(file: BidsFile, root: Path) -> Path:
    """The events.tsv of a recording: the nearest to it whose name says nothing else (BIDS's inheritance principle).

    Raises
    ------
    InputError
        When there is none, or two are equally near.
    """
    library = mne_bids()
    own = {**dataclasses.asdict(file), "subject": file.subject.removeprefix("sub-")}
    for base in dict.fromkeys((root, raw_root(root))):
        folder = base.absolute() / file.path.parent.absolute().relative_to(root.absolute())
        while folder.is_relative_to(base.absolute()):
            fits = []
            for path in sorted(folder.glob("*_events.tsv")) if folder.is_dir() else ():
                said = library.get_entities_from_fname(path.name, on_error="ignore").items()
                said = {name: value for name, value in said if value is not None and name in own}
                if all(own[name] == value for name, value in said.items()):
                    fits.append((len(said), path))
            best = [path for count, path in fits if count == max(fits)[0]]
            if len(best) > 1:
                raise InputError(f"{best[0]} and {best[1]} may both be the events of {file.path}; expected one file.")
            if best:
                return best[0]
            folder = folder.parent
    raise InputError(f"{file.path} has no events.tsv; expected one beside it, with the image of every trial.")


def describe(root: Path) -> dict[str, str]:
    """Name, licence, citation and source, from dataset_description.json.

    Raises
    ------
    InputError
        When the file is absent or not JSON.
    """
    content = read_json(root / "dataset_description.json", "the description of a BIDS dataset")
    authors = content.get("Authors") or []
    parts = [", ".join(map(str, authors)) if isinstance(authors, list) else authors]
    parts += [content.get("Name"), content.get("DatasetDOI")]
    composed = ". ".join(str(part) for part in parts if part)
    return {
        "name": str(content.get("Name") or root.absolute().name),
        "licence": str(content.get("License") or ""),
        "citation": str(content.get("HowToAcknowledge") or composed),
        "source": str(content.get("DatasetDOI") or "a BIDS dataset"),
    }
