"""Recordings and images written into the folder of a new study."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.recording import not_finite
from ubp.data.tables import CHANNEL_COLUMNS, TRIAL_COLUMNS
from ubp.errors import InputError
from ubp.files import inside

SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")

ImageSource = str | Path | Mapping[str, bytes | Path] | Callable[[str], bytes | Path]


@dataclass(frozen=True, eq=False)
class RecordingData:
    """What one subject of a new study is written from.

    Parameters
    ----------
    subject : str
        "sub-" and letters or digits.
    signals : array of shape (n_trials, n_channels, n_times), or an iterable of such arrays
        Blocks of trials that follow each other, for recordings larger than memory; float16 is kept, all else becomes
        float32. The number of trials is that of `trials`.
    trials : DataFrame
        Columns image, concept, split, repetition, session, and any others.
    channels : DataFrame
        Columns name, type, and any others.
    """

    subject: str
    signals: np.ndarray | Iterable[np.ndarray]
    trials: pd.DataFrame
    channels: pd.DataFrame


def write_recording(folder: Path, data: RecordingData) -> None:
    """Write signals.npy, trials.csv and channels.csv into the new `folder`.

    Raises
    ------
    InputError
        When blocks differ in shape, do not add up to the rows of `trials`, or hold NaN or infinity.
    """
    for table, columns, what in ((data.trials, TRIAL_COLUMNS, "trials"), (data.channels, CHANNEL_COLUMNS, "channels")):
        missing = [name for name in columns if name not in table.columns]
        if missing:
            raise InputError(
                f"The {what} of {data.subject} have no column {missing[0]!r}; expected {', '.join(columns)}."
            )
    folder.mkdir()
    data.trials.to_csv(folder / "trials.csv", index=False)
    data.channels.to_csv(folder / "channels.csv", index=False)
    blocks = iter([data.signals]) if isinstance(data.signals, np.ndarray) else iter(data.signals)
    with (folder / "signals.npy").open("wb") as handle:
        written = 0
        shape: tuple[int, ...] = ()
        dtype: np.dtype = np.dtype(np.float32)
        for block in blocks:
            if not shape:
                dtype = np.dtype(np.float16 if block.dtype == np.float16 else np.float32)
                shape = (len(data.trials), *block.shape[1:])
                header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(handle, header)
            if block.ndim != 3 or block.shape[1:] != shape[1:] or block.shape[1] != len(data.channels):
                raise InputError(
                    f"The signals of {data.subject} come in shape {block.shape}; expected (trials, channels, samples) "
                    f"with {len(data.channels)} channels and the same number of samples throughout."
                )
            block = np.ascontiguousarray(block, dtype)
            _check_finite(folder / "signals.npy", block, written, data.channels)
            if block.size:
                handle.write(memoryview(block.data).cast("B"))
            written += len(block)
    if written != len(data.trials):
        raise InputError(
            f"The signals of {data.subject} have {written} trials and its table has {len(data.trials)} rows; "
            "expected one row per trial."
        )


def _check_finite(path: Path, block: np.ndarray, row: int, channels: pd.DataFrame) -> None:
    bad = ~np.isfinite(block)
    if bad.any():
        i, c, t = np.argwhere(bad)[0]
        raise InputError(not_finite(path, row + int(i), str(channels["name"].iloc[c]), float(block[i, c, t])))


def write_recordings(root: Path, recordings: Iterable[RecordingData]) -> Iterator[str]:
    """Write each recording below `root`, one at a time, and yield the images it shows."""
    for data in recordings:
        if not SUBJECT.fullmatch(data.subject):
            raise InputError(f"The subject {data.subject!r} is not a folder name; expected sub-01 and the like.")
        if (root / data.subject).exists():
            raise InputError(f"The subject {data.subject} comes twice; expected one recording per subject.")
        write_recording(root / data.subject, data)
        yield from map(str, dict.fromkeys(data.trials["image"]))


def write_images(folder: Path, images: Iterable[str], source: ImageSource) -> None:
    """Put each image into `folder`, under its name, from a folder, a mapping, or a function of its name.

    Raises
    ------
    InputError
        When the source lacks an image, or a name leaves the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        target = inside(folder, image)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if isinstance(source, str | Path):
                content: bytes | Path = inside(Path(source), image)
            else:
                content = source[image] if isinstance(source, Mapping) else source(image)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                shutil.copyfile(content, target)
        except (KeyError, FileNotFoundError, IsADirectoryError) as error:
            raise InputError(
                f"The image {image!r} named in the trials is not in the source of images ({error}); "
                "expected a file of that name."
            ) from error
