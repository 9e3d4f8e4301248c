"""Epochs of raw THINGS-EEG2 recordings, whitened, one session in memory at a time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ubp.data.epochs import EpochCut, cut_epochs
from ubp.data.signals_file import SignalsFile
from ubp.data.things_eeg2_raw import SessionFile
from ubp.data.whitening import noise_covariance, whiten, whitener
from ubp.errors import InputError

WHITENING = ("session", "subject", "off")
MICROVOLTS = 1e6
BLOCK = 256


@dataclass(frozen=True, eq=False)
class SubjectEpochs:
    """The epochs of one subject, on their way to a signals file.

    Parameters
    ----------
    files : dict of split to list of SessionFile
        One per session.
    tables : dict of split to DataFrame
        From `choose`; in the signals file, rows of train stand before rows of test.
    cut : EpochCut
        How epochs are cut.
    """

    files: dict[str, list[SessionFile]]
    tables: dict[str, pd.DataFrame]
    cut: EpochCut

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return len(self.files["train"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """n_trials, n_channels, n_times."""
        n_trials = sum(len(table) for table in self.tables.values())
        return n_trials, len(self.files["train"][0].picks), self.cut.n_times

    def write(
        self, signals: SignalsFile, whitening: str, sessions: Iterable[int], advance: Callable[[int], None]
    ) -> None:
        """Write all rows of some sessions.

        Parameters
        ----------
        signals : SignalsFile
            Takes the rows.
        whitening : str
            "session": each session by the noise of its own training trials; "subject": by the mean over all training
            conditions; "off": the signals in microvolts.
        sessions : iterable of int
            Indices of the sessions.
        advance : function
            Called with a number of epochs when they are written.

        Raises
        ------
        InputError
            When a signal is NaN or infinite, or a covariance singular.
        """
        matrix = self._subject_matrix() if whitening == "subject" else MICROVOLTS * np.eye(self.shape[1])
        for number in sessions:
            splits = ["train", "test"]
            if whitening == "session":
                kept, matrix = self._session_matrix(number)
                rows = self._rows(number, "train")
                for first in range(0, len(rows), BLOCK):
                    some = rows[first : first + BLOCK]
                    signals.write(some, whiten(matrix, kept[first : first + BLOCK]))
                    advance(len(some))
                del kept
                splits = ["test"]
            for split in splits:
                start = len(self.tables["train"]) if split == "test" else 0
                for some, epochs in self._epochs(number, split):
                    signals.write(start + some, whiten(matrix, epochs))
                    advance(len(some))

    def _rows(self, number: int, split: str) -> np.ndarray:
        return np.flatnonzero(self.tables[split]["file"] == number)

    def _epochs(self, number: int, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Epochs of a session in the order of time, each block with its rows of the split's table."""
        file, rows = self.files[split][number], self._rows(number, split)
        samples = self.tables[split]["sample"].to_numpy()[rows]
        order = np.argsort(samples)
        samples, rows = samples[order], rows[order]
        recording = file.content.field("raw_eeg_data")
        for where, epochs in cut_epochs(recording, file.picks, samples, self.cut):
            if not np.isfinite(epochs.sum()):
                finite = np.isfinite(epochs).all(axis=(1, 2))
                raise InputError(
                    f"{file.content.path} holds NaN or infinity near sample {samples[where][~finite][0]}; "
                    "download it again."
                )
            yield rows[where], epochs
            file.content.forget()

    def _weights(self, number: int) -> np.ndarray:
        """Weight of every training row, such that repetitions, and then the conditions of the session, count alike."""
        table = self.tables["train"]
        mine = table[table["file"] == number]
        if mine.empty:
            raise InputError(f"{self.files['train'][number].content.path} has no trial to fit the whitening on.")
        share = 1 / mine.groupby("condition")["sample"].transform("size") / mine["condition"].nunique()
        return share.reindex(table.index, fill_value=0.0).to_numpy()

    def _session_matrix(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Training epochs of a session in the order of their rows, and the matrix that whitens the session."""
        weights, rows = self._weights(number), self._rows(number, "train")
        kept = np.empty((len(rows), *self.shape[1:]))
        covariance = np.zeros((self.shape[1],) * 2)
        for some, epochs in self._epochs(number, "train"):
            covariance += noise_covariance(epochs, weights[some])
            kept[np.searchsorted(rows, some)] = epochs
        return kept, whitener(covariance)

    def _subject_matrix(self) -> np.ndarray:
        total = np.zeros((self.shape[1],) * 2)
        conditions = 0
        for number in range(self.n_sessions):
            weights = self._weights(number)
            count = self.tables["train"]["condition"][weights > 0].nunique()
            for some, epochs in self._epochs(number, "train"):
                total += count * noise_covariance(epochs, weights[some])
            conditions += count
        return whitener(total / conditions)
