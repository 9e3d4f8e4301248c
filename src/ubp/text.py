"""Text features of concepts, from a file."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import pandas as pd

from ubp.errors import InputError
from ubp.files import digest

FORMS = "an .npz file with the arrays concepts and features, or an .npy file of features beside a .csv file of concepts"
MAX_BYTES = 4 * 2**30


@dataclass(frozen=True)
class TextFeatures:
    """A vector for every concept.

    Parameters
    ----------
    path : Path
    concepts : tuple of str
        Concept of each row, each once.
    features : array of shape (n_concepts, dim), float32
    """

    path: Path
    concepts: tuple[str, ...]
    features: np.ndarray

    @classmethod
    def read(cls, path: Path | str) -> "TextFeatures":
        """Read ``.npz`` (arrays `concepts` and `features`), or ``.npy`` (features) with ``.csv`` (column `concept`).

        The concepts of ``text.npy`` are in ``text.csv``, whose row `i` is about row `i` of the features.

        Raises
        ------
        InputError
            When a file is missing or damaged, lengths disagree, a concept comes twice, or a value is not finite.
        """
        path = Path(path)
        if path.suffix not in READERS:
            raise InputError(f"The text features {path} are of an unknown kind; expected {FORMS}.")
        concepts, features = READERS[path.suffix](path)
        if features.ndim != 2 or 0 in features.shape or not np.issubdtype(features.dtype, np.floating):
            raise InputError(
                f"The text features in {path} are {features.dtype} of shape {features.shape}; expected floating point "
                "numbers of shape (concepts, values)."
            )
        if len(concepts) != len(features):
            raise InputError(
                f"{path} has {len(features)} rows of text features for {len(concepts)} concepts; expected one row each."
            )
        twice = pd.Series(concepts)[pd.Series(concepts).duplicated()]
        if len(twice):
            raise InputError(f"The concept {twice.iloc[0]!r} comes twice in the text features {path}; name it once.")
        if not np.isfinite(features).all():
            raise InputError(f"The text features in {path} hold a value that is not finite; expected numbers.")
        return cls(path, tuple(concepts), features.astype(np.float32))

    def select(self, concepts: Iterable[str]) -> np.ndarray:
        """Features of these concepts, of shape (n, dim), float32.

        Raises
        ------
        InputError
            When a concept has none.
        """
        wanted = list(concepts)
        row = {concept: number for number, concept in enumerate(self.concepts)}
        missing = sorted(set(wanted) - set(row))
        if missing:
            others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
            raise InputError(
                f"{self.path} has no text features of the concept {missing[0]!r}{others} of the study; add them, or "
                "leave out --text."
            )
        return self.features[[row[concept] for concept in wanted]]

    @property
    def fingerprint(self) -> str:
        """Digest of concepts and features, in whatever order the file has them."""
        order = np.argsort(np.array(self.concepts), kind="stable")
        return digest("\0".join(self.concepts[i] for i in order) + self.features[order].tobytes().hex())


def _read_npz(path: Path) -> tuple[list[str], np.ndarray]:
    with _explained(path):
        with ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            concepts, features = arrays["concepts"], arrays["features"]
        if concepts.ndim != 1 or concepts.dtype.kind != "U":
            raise ValueError("concepts are not text")
        return [str(concept) for concept in concepts], features


def _read_npy(path: Path) -> tuple[list[str], np.ndarray]:
    with _explained(path):
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    table = path.with_suffix(".csv")
    with _explained(table):
        concepts = pd.read_csv(table, dtype=str, keep_default_na=False)["concept"]
        return list(concepts), features


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say of what could not be read which file it was, and what was expected."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"The text features {path} are missing; expected {FORMS}.") from error
    except (OSError, ValueError, KeyError, EOFError, MemoryError, BadZipFile) as error:
        raise InputError(f"The text features {path} cannot be read; expected {FORMS}.") from error


READERS = {".npz": _read_npz, ".npy": _read_npy}
