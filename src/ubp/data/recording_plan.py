"""What will be written for one subject, found out and checked before anything is written."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.signals_file import SignalsFile

Advance = Callable[[int], None]

# of a program that has loaded its libraries, and a block of trials
BASE_MEMORY = 1_200_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordingPlan(ABC):
    """One subject's recording, checked, and how its signals are written; can be sent to another process.

    Parameters
    ----------
    subject : str
        Its folder in the study, "sub-01" and the like.
    sfreq, tmin : float
        Of the study, Hz and seconds.
    n_times : int
    dtype : str
        "float16" or "float32".
    trials, channels : DataFrame
        The content of trials.csv and channels.csv.
    sources : tuple of Path
        Files that are read.
    memory : int
        Bytes that one part needs at most.
    missing : int
        Presentations fewer than published.
    """

    subject: str
    sfreq: float
    tmin: float
    n_times: int
    dtype: str
    trials: pd.DataFrame
    channels: pd.DataFrame
    sources: tuple[Path, ...]
    memory: int
    missing: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """n_trials, n_channels, n_times."""
        return len(self.trials), len(self.channels), self.n_times

    @property
    def bytes(self) -> int:
        """Size of signals.npy."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def n_parts(self) -> int:
        """How many parts of the signals can be written independently."""
        return 1

    @abstractmethod
    def write_part(self, part: int, signals: SignalsFile, advance: Advance) -> None:
        """Write the rows of one part; `advance` is called with a number of rows when they are written."""
