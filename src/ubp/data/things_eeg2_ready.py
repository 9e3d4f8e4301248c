"""THINGS-EEG2 as others preprocessed it: the authors' 17 channels at 100 Hz, and the UBP authors' 63 at 250 Hz."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.facts import DatasetFacts
from ubp.data.pickles import Pickled, read_pickle, read_torch
from ubp.data.things_images import FOLDERS, condition_table
from ubp.errors import InputError

BLOCK = 64  # conditions


@dataclass(frozen=True)
class Layout:
    """Where a preprocessed release keeps its things.

    Parameters
    ----------
    files : dict of split to str
        Name in a subject's folder.
    read : function
        Opens a file.
    signals : str
        Key of the array (n_conditions, n_repetitions, n_channels, n_times).
    dtype : str
        Type of a study's signals that keeps them as they are, or as near as may be.
    """

    files: dict[str, str]
    read: Callable[[Path], Pickled]
    signals: str
    dtype: str


LAYOUTS = {
    "preprocessed": Layout(
        {"train": "preprocessed_eeg_training.npy", "test": "preprocessed_eeg_test.npy"},
        read_pickle,
        "preprocessed_eeg_data",
        "float32",
    ),
    "ubp": Layout({"train": "train.pt", "test": "test.pt"}, read_torch, "eeg", "float16"),
}


@dataclass(frozen=True, eq=False)
class ReadyFile:
    """One file of a preprocessed release, opened and checked; its signals stay on disk.

    Parameters
    ----------
    content : Pickled
    key : str
        Of the signals in the content.
    channels : tuple of str
        All that the file has.
    sfreq : float
        Hz.
    times : float array of shape (n_times,)
        Of the signals' samples, seconds.
    """

    content: Pickled
    key: str
    channels: tuple[str, ...]
    sfreq: float
    times: np.ndarray

    @classmethod
    def open(cls, path: Path, split: str, layout: Layout, facts: DatasetFacts) -> "ReadyFile":
        """Read all but the signals of a file and check it.

        Raises
        ------
        InputError
            Names the fact that fails.
        """
        content = layout.read(path)
        signals = content.array(layout.signals, 4, "f")
        expected = facts.conditions(split)
        facts.check(f"{split} conditions", signals.shape[0], expected.count, path)
        facts.check(f"repetitions of {split} images", signals.shape[1], expected.repetitions, path)
        channels = tuple(content.texts("ch_names"))
        facts.check("channel names", len(channels), signals.shape[2], path)
        unknown = [name for name in channels if name not in facts.channels]
        if unknown or len(set(channels)) < len(channels):
            raise InputError(
                f"{path} has the channels {', '.join(unknown or channels)}; expected those of {facts.title}, once each."
            )
        times = np.asarray(content.field("times"), np.float64)
        if times.ndim != 1 or len(times) < max(2, signals.shape[3]) or not (np.diff(times) > 0).all():
            raise InputError(f"{path}: 'times' does not grow over {signals.shape[3]} samples; expected seconds.")
        sfreq = round(float(1 / np.diff(times).mean()), 6)
        # the UBP authors' axis is that of the whole epoch, of which the last samples were kept
        return cls(content, layout.signals, channels, sfreq, times[-signals.shape[3] :])

    @property
    def signals(self) -> np.ndarray:
        """View of the file, of shape (n_conditions, n_repetitions, n_channels, n_times)."""
        return self.content.array(self.key, 4, "f")

    def images(self, split: str, facts: DatasetFacts) -> pd.DataFrame:
        """Image and concept of every condition, from the file's own list.

        Raises
        ------
        InputError
            When the repetitions of a condition show different images, or counts are not those of the dataset.
        """
        path = self.content.path
        shown = self.content.array("img", 2, "U")
        facts.check("rows of img", shown.shape, self.signals.shape[:2], path)
        mixed = (shown != shown[:, :1]).any(axis=1)
        if mixed.any():
            raise InputError(f"{path}: condition {mixed.argmax() + 1} shows different images; expected one image each.")
        names = [name.replace("\\", "/") for name in shown[:, 0].tolist()]
        names = [f"{FOLDERS[split]}/{'/'.join(name.split('/')[-2:])}" for name in names]
        return condition_table(names, split, facts, path)

    def sessions(self, facts: DatasetFacts) -> np.ndarray:
        """Session of every condition and repetition; "mixed" where the file does not tell.

        Raises
        ------
        InputError
            When a number is not that of a session.
        """
        shape = self.signals.shape[:2]
        if not isinstance(self.content.value, dict) or "session" not in self.content.value:
            return np.full(shape, "mixed")
        numbers = self.content.array("session", 2, "iuf")
        facts.check("rows of session", numbers.shape, shape, self.content.path)
        if not np.isin(numbers, np.arange(len(facts.sessions))).all():
            raise InputError(f"{self.content.path}: a session is not a number from 0 to {len(facts.sessions) - 1}.")
        return np.array(facts.sessions)[numbers.astype(np.int64)]

    def blocks(
        self, picks: np.ndarray, keep: slice, dtype: str, advance: Callable[[int], None]
    ) -> Iterator[np.ndarray]:
        """Trials in the order of conditions, then repetitions."""
        signals = self.signals
        # neighbours as a slice: no copy
        neighbours = len(picks) > 0 and (np.diff(picks) == 1).all()
        wanted: slice | np.ndarray = slice(int(picks[0]), int(picks[-1]) + 1) if neighbours else picks
        for first in range(0, len(signals), BLOCK):
            part = signals[first : first + BLOCK, :, :, keep][:, :, wanted]
            with np.errstate(over="ignore"):
                block = np.ascontiguousarray(part.reshape(-1, *part.shape[2:]), np.dtype(dtype))
            if dtype == "float16" and part.dtype != block.dtype and not np.isfinite(block).all():
                raise InputError(f"{self.content.path} holds values that do not fit float16; choose float32.")
            yield block
            advance(len(block))
            self.content.forget()


def trials_table(file: ReadyFile, split: str, conditions: pd.DataFrame, facts: DatasetFacts) -> pd.DataFrame:
    """One row per trial, in the order of `ReadyFile.blocks`."""
    count, repetitions = file.signals.shape[:2]
    condition = np.repeat(np.arange(count), repetitions)
    return pd.DataFrame(
        {
            "image": conditions["image"].to_numpy()[condition],
            "concept": conditions["concept"].to_numpy()[condition],
            "split": split,
            "repetition": np.tile(np.arange(repetitions), count),
            "session": file.sessions(facts).ravel(),
            "condition": condition + 1,
        }
    )
