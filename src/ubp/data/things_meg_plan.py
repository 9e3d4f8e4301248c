"""What will be written for one subject of THINGS-MEG, found out before anything is written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.facts import DatasetFacts
from ubp.data.recording_plan import BASE_MEMORY, Advance, RecordingPlan
from ubp.data.signals_file import SignalsFile
from ubp.data.things_meg_epochs import EpochsFile
from ubp.data.things_meg_options import ThingsMEGOptions
from ubp.data.things_meg_scaling import SCALINGS
from ubp.data.things_meg_trials import check_events, choose_trials, read_attributes
from ubp.errors import InputError

SMALLEST = np.finfo(np.float16).smallest_normal


@dataclass(frozen=True, eq=False, kw_only=True)
class MEGPlan(RecordingPlan):
    """One subject, checked; its sessions are the parts, each read on its own.

    Parameters
    ----------
    epochs : EpochsFile
    scaling : str
    """

    epochs: EpochsFile
    scaling: str

    @property
    def n_parts(self) -> int:
        """Number of sessions."""
        return self.trials["session"].nunique()

    def write_part(self, part: int, signals: SignalsFile, advance: Advance) -> None:
        """Write the rows of a session, in the order of time.

        Raises
        ------
        InputError
            When signals are not finite or do not fit the type, or a scaling cannot be fitted.
        """
        session = sorted(self.trials["session"].unique())[part]
        mine = self.trials[self.trials["session"] == session].sort_values("epoch")
        numbers, rows = mine["epoch"].to_numpy(), mine.index.to_numpy()
        train = numbers[(mine["split"] == "train").to_numpy()]
        where = f"{self.epochs.files[0]}, {session}"
        try:
            scale = SCALINGS[self.scaling]((block for _, block in self.epochs.blocks(train)), len(train))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        for some, block in self.epochs.blocks(numbers):
            block = scale(block)
            size = float(np.sqrt(np.square(block).mean()))
            if self.dtype == "float16" and 0 < size < SMALLEST:
                raise InputError(
                    f"{where}: signals are {size:.1g} in size, too small for float16; choose float32, or a scaling."
                )
            signals.write(rows[some], block)
            advance(len(block))


def plan_meg(
    folder: Path, name: str, images: tuple[pd.DataFrame, Path], options: ThingsMEGOptions, facts: DatasetFacts
) -> MEGPlan:
    """Plan a subject, "P1" and the like; reads all but the signals.

    Parameters
    ----------
    images : DataFrame and Path
        From `read_image_numbers`.

    Raises
    ------
    InputError
        Names the file and the fact that fails.
    """
    recording = folder / "derivatives" / "preprocessed" / f"preprocessed_{name}-epo.fif"
    table = folder / "sourcedata" / f"sample_attributes_{name}.csv"
    epochs = EpochsFile.open(recording, options, facts)
    attributes = read_attributes(table, facts)
    check_events(epochs.codes, recording, attributes, table, images[0])
    trials, missing = choose_trials(attributes, images[0], options, facts, table)
    untrained = set(trials["session"]) - set(trials["session"][trials["split"] == "train"])
    if options.scaling != "off" and untrained:
        raise InputError(
            f"{recording} has no training trial in {min(untrained)} to fit the {options.scaling} on; switch it off."
        )
    return MEGPlan(
        subject=f"sub-{name}",
        sfreq=facts.sfreq,
        tmin=epochs.tmin,
        n_times=epochs.n_times,
        dtype=options.dtype,
        trials=trials,
        channels=epochs.channels,
        sources=(*epochs.files, table, images[1]),
        memory=BASE_MEMORY,
        missing=missing,
        epochs=epochs,
        scaling=options.scaling,
    )
