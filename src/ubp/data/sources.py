"""Where the files of the public datasets are, what they are called here, and what their licences ask."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ubp.errors import InputError

THINGS_PASSWORD = "UBP_THINGS_PASSWORD"


@dataclass(frozen=True)
class Source:
    """One file to fetch.

    Parameters
    ----------
    part : str
        Part of the dataset, as in `--parts`.
    base, remote : str
        Key of the dataset's base address, and the rest of the address.
    local : str
        Path below the output folder of the file as it is downloaded.
    page : str
        Where a person finds it.
    subject : str, optional
        Whose recording it is; None when it belongs to all.
    folder : str, optional
        Path below the output folder that an archive is unpacked to.
    top : str, optional
        The single folder in the archive, taken off.
    holds : str, optional
        Path that the unpacked folder must have.
    size, sha256 : int, str, optional
        Where they are known beforehand.
    protected : bool
        Whether the archive needs the password of the THINGS images.
    fixed : bool
        Whether the server sends the same bytes each time; an archive made on request may differ.
    """

    part: str
    base: str
    remote: str
    local: str
    page: str
    subject: str | None = None
    folder: str | None = None
    top: str | None = None
    holds: str | None = None
    size: int | None = None
    sha256: str | None = None
    protected: bool = False
    fixed: bool = True

    @property
    def final(self) -> str:
        """Path below the output folder of what stays: the unpacked folder or the file."""
        return self.folder or self.local

    @property
    def names(self) -> tuple[str, ...]:
        """File names under which a person may have downloaded it."""
        return (PurePosixPath(self.local).name, PurePosixPath(self.remote).name)


@dataclass(frozen=True)
class Dataset:
    """A public dataset: base addresses, files, and the parts fetched when none are named."""

    name: str
    title: str
    licence: str
    bases: Mapping[str, str]
    sources: tuple[Source, ...]
    default: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, in the order of the table."""
        return tuple(dict.fromkeys(source.part for source in self.sources))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the subjects."""
        return tuple(sorted({source.subject for source in self.sources if source.subject}))

    def select(self, parts: Sequence[str] | None, subjects: Sequence[str] | None) -> list[Source]:
        """The files of some parts and subjects; none named means the default parts, and all subjects.

        Raises
        ------
        InputError
            When a part or subject is not one of the dataset's.
        """
        if subjects:  # a study calls P1 sub-P1
            bare = {f"sub-{name}": name for name in self.subjects}
            subjects = [bare.get(name, name) for name in subjects]
        for what, chosen, known in (("part", parts, self.parts), ("subject", subjects, self.subjects)):
            for name in chosen or ():
                if name not in known:
                    raise InputError(f"{self.name} has no {what} {name!r}; choose among {', '.join(known)}.")
        parts = parts or self.default
        return [
            source
            for source in self.sources
            if source.part in parts and (source.subject is None or not subjects or source.subject in subjects)
        ]


def dataset(name: str) -> Dataset:
    """The dataset of that name.

    Raises
    ------
    InputError
        When there is none.
    """
    if name not in DATASETS:
        raise InputError(f"There is no dataset {name!r} to fetch; choose among {', '.join(DATASETS)}.")
    return DATASETS[name]


PREPROCESSED_IDS = ("nb8wr", "u43p5", "fy4n6", "py8jz", "2cn7v", "bd83f", "mw8hr", "n9bzm", "fv6jz", "8fyu9")


def _things_eeg2() -> Iterator[Source]:
    images, eeg = "https://osf.io/y63gw", [f"sub-{number:02d}" for number in range(1, 11)]
    for name in eeg:
        yield Source(
            part="raw",
            base="osf-raw",
            remote=f"{name}.zip",
            local=f"raw/{name}.zip",
            page="https://osf.io/crxs4",
            subject=name,
            folder=f"raw/{name}",
            top=name,
            holds="ses-01/raw_eeg_training.npy",
        )
    for name, key in zip(eeg, PREPROCESSED_IDS, strict=True):
        yield Source(
            part="preprocessed",
            base="osf",
            remote=f"{key}/",
            local=f"preprocessed/{name}.zip",
            page="https://osf.io/anp5v",
            subject=name,
            folder=f"preprocessed/{name}",
            top=name,
            holds="preprocessed_eeg_training.npy",
        )
    for name in eeg:
        for split in ("train", "test"):
            remote = f"Preprocessed_data_250Hz_whiten/{name}/{split}.pt"
            page = "https://huggingface.co/datasets/Haitao999/things-eeg"
            yield Source("ubp", "huggingface", remote, f"ubp/{name}/{split}.pt", page, subject=name)
    for split, key in (("training_images", "3v527"), ("test_images", "znu7b")):
        where = f"images/{split}"
        yield Source("images", "osf", f"{key}/", f"{where}.zip", images, folder=where, top=split)
    yield Source("metadata", "osf", "qkgtf/", "images/image_metadata.npy", images)


def _things_meg() -> Iterator[Source]:
    page = "https://openneuro.org/datasets/ds004212/versions/2.0.1"
    for number in range(1, 5):
        for split in ("", "-1", "-2", "-3"):
            path = f"derivatives/preprocessed/preprocessed_P{number}-epo{split}.fif"
            yield Source("derivatives", "openneuro", path, path, page, subject=f"P{number}")
    for number in range(1, 5):
        path = f"sourcedata/sample_attributes_P{number}.csv"
        yield Source("attributes", "openneuro", path, path, page, subject=f"P{number}")
    yield Source(
        part="metadata",
        base="osf-things",
        remote="66d068fc9e146696878c987e/?zip=",
        local="metadata/01_image-level.zip",
        page="https://osf.io/jum2f",
        folder="metadata/01_image-level",
        top="01_image-level",
        holds="image-paths.csv",
        fixed=False,
    )
    yield Source(
        part="images",
        base="osf",
        remote="rdxy2/",
        local="images/images_THINGS.zip",
        page="https://osf.io/jum2f",
        folder="images/object_images",
        top="object_images",
        protected=True,
    )


DATASETS = {
    "things-eeg2": Dataset(
        name="things-eeg2",
        title="THINGS-EEG2 (Gifford, Dwivedi, Roig, Cichy 2022)",
        licence="CC BY 4.0",
        bases={
            "osf-raw": "https://files.osf.io/v1/resources/crxs4/providers/googledrive",
            "osf": "https://osf.io/download",
            "huggingface": "https://huggingface.co/datasets/Haitao999/things-eeg/resolve/main",
        },
        sources=tuple(_things_eeg2()),
        default=("raw", "images", "metadata"),
    ),
    "things-meg": Dataset(
        name="things-meg",
        title="THINGS-MEG (Hebart, Contier, Teichmann et al. 2023)",
        licence="CC0; the images by the terms of the THINGS database, not to be passed on",
        bases={
            "openneuro": "https://s3.amazonaws.com/openneuro.org/ds004212",
            "osf": "https://osf.io/download",
            "osf-things": "https://files.osf.io/v1/resources/jum2f/providers/osfstorage",
        },
        sources=tuple(_things_meg()),
        default=("derivatives", "attributes", "metadata", "images"),
    ),
}
