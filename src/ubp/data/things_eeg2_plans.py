"""What will be written for one subject of THINGS-EEG2, found out before anything is written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.epochs import EpochCut
from ubp.data.facts import DatasetFacts
from ubp.data.signals_file import SignalsFile
from ubp.data.tables import SPLITS
from ubp.data.things_eeg2_epochs import SubjectEpochs
from ubp.data.things_eeg2_options import ThingsEEG2Options
from ubp.data.things_eeg2_raw import SessionFile, check_complete, choose
from ubp.data.things_eeg2_ready import LAYOUTS, ReadyFile, trials_table
from ubp.data.writing import RecordingData, write_recording
from ubp.errors import InputError

# of a program that has loaded its libraries, and a block of trials
BASE_MEMORY = 1_200_000_000

Advance = Callable[[int], None]
ConditionTables = dict[str, pd.DataFrame]


@dataclass(frozen=True, eq=False)
class SubjectPlan:
    """One subject, checked.

    Parameters
    ----------
    subject : str
    sfreq, tmin : float
        Of the study, Hz and seconds.
    shape : (int, int, int)
        n_trials, n_channels, n_times.
    dtype : str
        Of the study's signals.
    memory : int
        Bytes needed at most.
    missing : int
        Presentations fewer than published.
    images : tuple of str
        That are shown.
    write : function of folder and progress
        Writes the recording into a new folder.
    """

    subject: str
    sfreq: float
    tmin: float
    shape: tuple[int, int, int]
    dtype: str
    memory: int
    missing: int
    images: tuple[str, ...]
    write: Callable[[Path, Advance], None]

    @property
    def bytes(self) -> int:
        """Size of signals.npy."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def channels_table(channels: tuple[str, ...]) -> pd.DataFrame:
    """The content of channels.csv."""
    return pd.DataFrame({"name": channels, "type": "eeg"})


def plan_raw(
    folder: Path, subject: str, options: ThingsEEG2Options, conditions: ConditionTables, facts: DatasetFacts
) -> SubjectPlan:
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
    dtype = options.dtype or "float16"
    table = channels_table(channels)

    def write(target: Path, advance: Advance) -> None:
        target.mkdir()
        trials.to_csv(target / "trials.csv", index=False)
        table.to_csv(target / "channels.csv", index=False)
        with SignalsFile(target / "signals.npy", epochs.shape, dtype, table["name"]) as signals:
            epochs.write(signals, options.whitening, advance)

    kept = chosen["train"].groupby("file").size().max() * np.prod(epochs.shape[1:]) * 8
    return SubjectPlan(
        subject=subject,
        sfreq=options.sfreq,
        tmin=cut.tmin,
        shape=epochs.shape,
        dtype=dtype,
        memory=BASE_MEMORY + (int(kept) if options.whitening == "session" else 0),
        missing=missing,
        images=tuple(trials["image"].unique()),
        write=write,
    )


def plan_ready(
    folder: Path,
    subject: str,
    source: str,
    options: ThingsEEG2Options,
    conditions: ConditionTables | None,
    facts: DatasetFacts,
) -> SubjectPlan:
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
    dtype = options.dtype or layout.dtype
    trials = pd.concat(tables, ignore_index=True)

    def write(target: Path, advance: Advance) -> None:
        blocks = (block for split in SPLITS for block in files[split].blocks(picks, keep, dtype, advance))
        write_recording(target, RecordingData(subject, blocks, trials, channels_table(channels)))

    return SubjectPlan(
        subject=subject,
        sfreq=train.sfreq,
        tmin=round(float(train.times[keep.start]), 9),
        shape=(len(trials), len(channels), len(inside)),
        dtype=dtype,
        memory=BASE_MEMORY,
        missing=0,
        images=tuple(trials["image"].unique()),
        write=write,
    )
