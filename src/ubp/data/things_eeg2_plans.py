"""What will be written for one subject of THINGS-EEG2, found out before anything is written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.epochs import EpochCut
from ubp.data.facts import DatasetFacts
from ubp.data.recording_plan import BASE_MEMORY, Advance, RecordingPlan
from ubp.data.signals_file import SignalsFile
from ubp.data.tables import SPLITS
from ubp.data.things_eeg2_epochs import SubjectEpochs
from ubp.data.things_eeg2_options import ThingsEEG2Options
from ubp.data.things_eeg2_raw import SessionFile, check_complete, choose
from ubp.data.things_eeg2_ready import LAYOUTS, ReadyFile, trials_table
from ubp.errors import InputError

ConditionTables = dict[str, pd.DataFrame]


@dataclass(frozen=True, eq=False, kw_only=True)
class RawPlan(RecordingPlan):
    """A subject from raw recordings; its sessions are the parts, unless they share a whitening matrix.

    Parameters
    ----------
    epochs : SubjectEpochs
    whitening : str
    """

    epochs: SubjectEpochs
    whitening: str

    @property
    def n_parts(self) -> int:
        """Sessions, or 1."""
        return 1 if self.whitening == "subject" else self.epochs.n_sessions

    def write_part(self, part: int, signals: SignalsFile, advance: Advance) -> None:
        """Write a session, or all."""
        sessions = range(self.epochs.n_sessions) if self.n_parts == 1 else (part,)
        self.epochs.write(signals, self.whitening, sessions, advance)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadyPlan(RecordingPlan):
    """A subject from a preprocessed release; its splits are the parts.

    Parameters
    ----------
    files : dict of split to ReadyFile
    picks : int array
        Channels wanted.
    keep : slice
        Samples wanted.
    """

    files: dict[str, ReadyFile]
    picks: np.ndarray
    keep: slice

    @property
    def n_parts(self) -> int:
        """Train and test."""
        return len(SPLITS)

    def write_part(self, part: int, signals: SignalsFile, advance: Advance) -> None:
        """Write a split."""
        rows = np.flatnonzero(self.trials["split"] == SPLITS[part])
        first = 0
        for block in self.files[SPLITS[part]].blocks(self.picks, self.keep, self.dtype, advance):
            signals.write(rows[first : first + len(block)], block)
            first += len(block)


def channels_table(channels: tuple[str, ...]) -> pd.DataFrame:
    """The content of channels.csv."""
    return pd.DataFrame({"name": channels, "type": "eeg"})


def plan_raw(
    folder: Path, subject: str, options: ThingsEEG2Options, conditions: ConditionTables, facts: DatasetFacts
) -> RecordingPlan:
    """Plan a subject from its raw recordings; reads their trigger channels.

    Raises
    ------
    InputError
        Names the file and the fact that fails.
    """
    channels = options.channel_names(facts.channels)
    cut = EpochCut(
        facts.sfreq, options.sfreq, options.epoch, options.baseline, options.window or (0.0, options.epoch[1])
    )
    limits = {"train": options.train_repetitions, "test": options.test_repetitions}
    files: dict[str, list[SessionFile]] = {}
    chosen: dict[str, pd.DataFrame] = {}
    missing = 0
    for split in SPLITS:
        files[split] = [
            SessionFile.open(folder / subject, session, split, channels, cut, facts) for session in facts.sessions
        ]
        chosen[split] = choose(files[split], limits[split], options.seed)
        missing += check_complete(chosen[split], split, limits[split], facts, folder / subject)
    epochs = SubjectEpochs(files, chosen, cut)
    trials = pd.concat(
        [
            chosen[split][["repetition", "session", "condition"]].assign(
                image=conditions[split]["image"].to_numpy()[chosen[split]["condition"] - 1],
                concept=conditions[split]["concept"].to_numpy()[chosen[split]["condition"] - 1],
                split=split,
            )
            for split in SPLITS
        ]
    )[["image", "concept", "split", "repetition", "session", "condition"]]
    kept = chosen["train"].groupby("file").size().max() * np.prod(epochs.shape[1:]) * 8
    return RawPlan(
        subject=subject,
        sfreq=options.sfreq,
        tmin=cut.tmin,
        n_times=cut.n_times,
        dtype=options.dtype or "float16",
        trials=trials,
        channels=channels_table(channels),
        sources=tuple(file.content.path for split in SPLITS for file in files[split]),
        memory=BASE_MEMORY + (int(kept) if options.whitening == "session" else 0),
        missing=missing,
        epochs=epochs,
        whitening=options.whitening,
    )


def plan_ready(
    folder: Path,
    subject: str,
    source: str,
    options: ThingsEEG2Options,
    conditions: ConditionTables | None,
    facts: DatasetFacts,
) -> RecordingPlan:
    """Plan a subject from a preprocessed release ("preprocessed" or "ubp").

    Parameters
    ----------
    conditions : dict of split to DataFrame, or None
        None: from the list of images in the files.

    Raises
    ------
    InputError
        Names the file and the fact that fails.
    """
    layout = LAYOUTS[source]
    files, tables = {}, []
    for split in SPLITS:
        file = ReadyFile.open(folder / subject / layout.files[split], split, layout, facts)
        files[split] = file
        shown = file.images(split, facts) if conditions is None else conditions[split]
        tables.append(trials_table(file, split, shown, facts))
    train, test = files["train"], files["test"]
    for what in ("channels", "sfreq"):
        facts.check(f"{what} as in train", getattr(test, what), getattr(train, what), test.content.path)
    if not np.array_equal(train.times, test.times):
        raise InputError(f"{test.content.path} has other times than {train.content.path}; expected the same.")
    channels = options.channel_names(train.channels)
    missing = [name for name in channels if name not in train.channels]
    if missing:
        raise InputError(
            f"{train.content.path} has no channel {missing[0]!r}; expected one of {', '.join(train.channels)}."
        )
    picks = np.array([train.channels.index(name) for name in channels])
    low, high = options.window or (train.times[0], train.times[-1])
    inside = np.flatnonzero((train.times >= low - 1e-6) & (train.times <= high + 1e-6))
    if not len(inside):
        raise InputError(f"The window {options.window} holds no sample of {train.content.path}; choose another.")
    keep = slice(int(inside[0]), int(inside[-1]) + 1)
    return ReadyPlan(
        subject=subject,
        sfreq=train.sfreq,
        tmin=round(float(train.times[keep.start]), 9),
        n_times=len(inside),
        dtype=options.dtype or layout.dtype,
        trials=pd.concat(tables, ignore_index=True),
        channels=channels_table(channels),
        sources=tuple(files[split].content.path for split in SPLITS),
        memory=BASE_MEMORY,
        files=files,
        picks=picks,
        keep=keep,
    )
