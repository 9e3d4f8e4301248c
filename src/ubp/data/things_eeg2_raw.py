"""Raw THINGS-EEG2 recordings: their files, checked, and which presentations in them are used."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from sklearn.utils import shuffle

from ubp.data.epochs import EpochCut
from ubp.data.facts import DatasetFacts
from ubp.data.pickles import Pickled, read_pickle
from ubp.errors import InputError

TARGET = 99999  # event of a trial that asks for a button press
RAW_FILES = {"train": "raw_eeg_training.npy", "test": "raw_eeg_test.npy"}


@dataclass(frozen=True, eq=False)
class SessionFile:
    """One recording of a session, opened and checked; its signals stay on disk.

    Parameters
    ----------
    split, session : str
    content : Pickled
    picks : int array of shape (n_channels,)
        Rows of the channels wanted, in the order wanted.
    samples, codes : int arrays of shape (n_events,)
        Image onsets whose epoch is complete, and their conditions (from 1); without target trials.
    """

    split: str
    session: str
    content: Pickled
    picks: np.ndarray
    samples: np.ndarray
    codes: np.ndarray

    @classmethod
    def open(
        cls, folder: Path, session: str, split: str, channels: tuple[str, ...], cut: EpochCut, facts: DatasetFacts
    ) -> "SessionFile":
        """Read names and trigger channel of a file and check them.

        Raises
        ------
        InputError
            When a channel is missing, the rate is another, or an event is not a condition.
        """
        path = folder / session / RAW_FILES[split]
        content = read_pickle(path)
        signals = content.array("raw_eeg_data", 2, "f")
        names = content.texts("ch_names")
        facts.check("channel names", len(names), len(signals), path)
        facts.check("Hz", content.field("sfreq"), facts.sfreq, path)
        missing = [name for name in (*channels, "stim") if names.count(name) != 1]
        if missing:
            others = [name for name in names if name not in facts.channels and name != "stim"]
            raise InputError(
                f"{path} has {'no channel' if missing[0] not in names else 'twice the channel'} {missing[0]!r}"
                + (f" (it has the unknown {', '.join(others[:3])})" if others else "")
                + f"; expected the {facts.n_channels} channels of {facts.title} and 'stim'."
            )
        events = _find_events(path, np.array(signals[names.index("stim")], np.float64), facts.sfreq)
        events = events[events[:, 2] != TARGET]
        samples, codes = events[:, 0].astype(np.int64), events[:, 2].astype(np.int64)
        count = facts.conditions(split).count
        wrong = codes > count
        if wrong.any():
            raise InputError(
                f"{path} has the event {codes[wrong][0]} at sample {samples[wrong][0]}; "
                f"expected conditions 1 to {count} and {TARGET} for targets."
            )
        fit = cut.fits(samples, signals.shape[1])
        picks = np.array([names.index(name) for name in channels])
        content.forget()
        return cls(split, session, content, picks, samples[fit], codes[fit])


def _find_events(path: Path, stim: np.ndarray, sfreq: float) -> np.ndarray:
    if not np.isfinite(stim).all():
        raise InputError(f"{path} holds NaN or infinity in its channel 'stim'; expected condition numbers.")
    raw = mne.io.RawArray(stim[None], mne.create_info(["stim"], sfreq, "stim"), verbose="ERROR")
    try:
        return mne.find_events(raw, "stim", verbose="ERROR")
    except ValueError as error:
        raise InputError(f"{path} has a damaged channel 'stim': {error}") from error


@cache
def _order(count: int, limit: int, seed: int) -> np.ndarray:
    return shuffle(np.arange(count), random_state=seed, n_samples=min(limit, count))


def choose(files: list[SessionFile], limit: int, seed: int) -> pd.DataFrame:
    """Presentations that are used, in the order of the study.

    Of each condition, at most `limit` presentations per session, in the order of `sklearn.utils.shuffle` with the same
    seed each time; sessions follow each other. Where there are fewer, all are used.

    Returns
    -------
    DataFrame
        Columns condition, session, file (index into `files`), sample, and repetition (counted over sessions).
    """
    parts = []
    for number, file in enumerate(files):
        by_code = np.argsort(file.codes, kind="stable")
        codes, starts, counts = np.unique(file.codes[by_code], return_index=True, return_counts=True)
        chosen = [by_code[start + _order(count, limit, seed)] for start, count in zip(starts, counts, strict=True)]
        sizes = [len(some) for some in chosen]
        samples = file.samples[np.concatenate(chosen)] if chosen else file.samples[:0]
        parts.append(pd.DataFrame({"condition": np.repeat(codes, sizes), "file": number, "sample": samples}))
    table = pd.concat(parts).sort_values(["condition", "file"], kind="stable", ignore_index=True)
    table["repetition"] = table.groupby("condition").cumcount()
    table["session"] = [files[number].session for number in table["file"]]
    return table


def check_complete(table: pd.DataFrame, split: str, limit: int, facts: DatasetFacts, folder: Path) -> int:
    """Number of repetitions that are missing.

    Raises
    ------
    InputError
        When a condition has no trial at all.
    """
    count = facts.conditions(split).count
    seen = np.bincount(table["condition"], minlength=count + 1)[1:]
    absent = np.flatnonzero(seen == 0) + 1
    if len(absent):
        raise InputError(
            f"{folder} has no trial of {len(absent)} {split} conditions ({', '.join(map(str, absent[:5]))}"
            f"{', ...' if len(absent) > 5 else ''}); {facts.title} shows all {count}."
        )
    wanted = facts.conditions(split)
    sessions = wanted.repetitions // wanted.session_repetitions
    return int(np.maximum(sessions * min(limit, wanted.session_repetitions) - seen, 0).sum())
