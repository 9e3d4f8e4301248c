"""A run of a BIDS dataset: its events, and the trials cut out around them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ubp.data.bids_files import BidsFile, events_of, mne_bids
from ubp.data.import_options import SignalOptions
from ubp.data.import_parts import Part
from ubp.data.import_table import has_image
from ubp.data.mne_signals import Times, channel_table, choose_channels, data_channels, read_blocks, reading
from ubp.data.tables import read_table
from ubp.errors import InputError

if TYPE_CHECKING:
    import mne

WINDOW = (-0.2, 1.0)


@dataclass(frozen=True)
class CutOptions:
    """How trials are cut out of a continuous recording.

    Parameters
    ----------
    filter : tuple of float
        Band (Hz) that passes, lowest and highest, by mne's default filter before cutting; 0 leaves an end open.
    baseline : tuple of float
        Seconds whose mean is subtracted; by default from the start of the window to image onset, if it starts before.
    no_baseline : bool
        Subtract nothing.

    Raises
    ------
    InputError
        When the band or the baseline is empty.
    """

    filter: tuple[float, float] | None = None
    baseline: tuple[float, float] | None = None
    no_baseline: bool = False

    def __post_init__(self) -> None:
        if self.filter is not None:
            low, high = self.filter
            if not (low >= 0 and high >= 0 and (high == 0 or low < high) and max(low, high) > 0):
                raise InputError(f"The band {low:g} to {high:g} Hz is empty; expected lowest < highest.")
        if self.baseline is not None and (self.no_baseline or self.baseline[0] > self.baseline[1]):
            raise InputError(f"The baseline {self.baseline} ends before it starts, or none was asked for; choose one.")

    def baseline_of(self, window: tuple[float, float]) -> tuple[float, float] | None:
        """Seconds of the baseline.

        Raises
        ------
        InputError
            When they reach outside the window.
        """
        if self.no_baseline or (self.baseline is None and window[0] >= 0):
            return None
        low, high = self.baseline or (window[0], min(0.0, window[1]))
        if low < window[0] or high > window[1]:
            raise InputError(
                f"The baseline {low:g} to {high:g} s reaches outside the window {window[0]:g} to {window[1]:g} s; "
                "choose a longer window, or a baseline within."
            )
        return low, high


def run_part(
    file: BidsFile, root: Path, signals: SignalOptions, cut: CutOptions, image_column: str | None = None
) -> Part:
    """Trials around the onsets of a run's events.tsv; the run is opened again when its signals are read.

    Order: filter (which takes the run into memory), cut and subtract the baseline (`mne.Epochs`), resample.

    Raises
    ------
    InputError
        When there is no events.tsv, an onset is not a number, an image comes after the end, two at the same sample, or
        the run cannot be read.
    """
    window = signals.window or WINDOW
    baseline = cut.baseline_of(window)
    events_file = events_of(file, root)
    events = read_events(events_file)
    raw = _open(file, root)
    where, rate = str(file.path), float(raw.info["sfreq"])
    if cut.filter is not None and not max(cut.filter) < rate / 2:
        raise InputError(
            f"The band {cut.filter[0]:g} to {cut.filter[1]:g} Hz reaches half the rate of {where} ({rate:g} Hz); "
            "choose a lower highest frequency, or 0 for none."
        )
    chosen = choose_channels(raw.info, signals, where)
    samples = np.arange(round(window[0] * rate), round(window[1] * rate) + 1)
    times = Times(samples / rate, rate, SignalOptions(resample=signals.resample), where)
    onsets = events["onset"].to_numpy(float)

    late = np.flatnonzero(has_image(events, image_column) & (np.round(onsets * rate) >= raw.n_times))
    if len(late):
        raise InputError(
            f"{where} ends after {raw.n_times / rate:g} s and {events_file}, row {late[0]}, shows an image at "
            f"{onsets[late[0]]:g} s; expected a whole recording and its own events."
        )

    def epochs_of(raw: "mne.io.BaseRaw", rows: np.ndarray) -> "mne.BaseEpochs":
        import mne

        samples = raw.first_samp + np.round(onsets[rows] * rate).astype(int)
        order = np.stack([samples, np.zeros_like(samples), np.ones_like(samples)], axis=1)
        return mne.Epochs(
            raw, order, None, *window, baseline=baseline, reject_by_annotation=False, preload=False, verbose="error"
        ).drop_bad(verbose="error")

    def read(rows: np.ndarray, names: Sequence[str]) -> Iterator[np.ndarray]:
        _check_apart(onsets, rows, rate, str(events_file))
        raw = _open(file, root)
        with reading(where, "a recording"):
            # projections need the other data channels too
            needed = set(names) | set(data_channels(raw.info))
            raw.pick([name for name in raw.ch_names if name in needed], verbose="error")
            if cut.filter is not None:
                low, high = (frequency or None for frequency in cut.filter)
                raw.load_data(verbose="error").filter(low, high, picks=list(names), verbose="error")
            epochs = epochs_of(raw, rows)
        yield from read_blocks(epochs, np.arange(len(rows)), names, times, where)

    return Part(
        where=where,
        table=events,
        table_where=str(events_file),
        channels=channel_table(raw.info, chosen),
        sfreq=times.sfreq,
        tmin=times.tmin,
        n_times=times.n_times,
        read=read,
        session=file.session,
        incomplete=_incomplete(raw, onsets, window),
        memory=3 * 8 * raw.n_times * len(raw.ch_names) if cut.filter else 0,
    )


def read_events(path: Path) -> pd.DataFrame:
    """An events.tsv, all columns text but the onset.

    Raises
    ------
    InputError
        When it is not a table, has no onset, or one that is not a number.
    """
    names = list(map(str, read_table(path, ("onset",), (), "\t")))
    table = read_table(path, ("onset",), names, "\t")
    onsets = pd.to_numeric(table["onset"], errors="coerce")
    if onsets.isna().any():
        row = int(onsets.isna().to_numpy().argmax())
        raise InputError(f"{path}, row {row}: the onset is {table['onset'].iloc[row]!r}; expected seconds.")
    return table.assign(onset=onsets)


def _open(file: BidsFile, root: Path) -> "mne.io.BaseRaw":
    library = mne_bids()
    with reading(str(file.path), "a recording of BIDS"):
        path = library.get_bids_path_from_fname(file.path, check=False).update(root=root, datatype=file.datatype)
        return library.read_raw_bids(path, verbose="error")


def _check_apart(onsets: np.ndarray, rows: np.ndarray, rate: float, where: str) -> None:
    samples = np.round(onsets[rows] * rate).astype(int)
    order = np.argsort(samples, kind="stable")
    same = np.flatnonzero(np.diff(samples[order]) == 0)
    if len(same):
        one, other = sorted(rows[order[same[0] : same[0] + 2]])
        raise InputError(
            f"{where}, rows {one} and {other}, name images at the same time; expected one image at a time."
        )


def _incomplete(raw: "mne.io.BaseRaw", onsets: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Trials that reach outside the recording or overlap an annotation that begins with "bad"."""
    rate = float(raw.info["sfreq"])
    samples = np.round(onsets * rate)
    start, stop = samples + round(window[0] * rate), samples + round(window[1] * rate)
    result = (start < 0) | (stop >= raw.n_times)
    notes = raw.annotations
    for onset, duration, text in zip(notes.onset - raw.first_time, notes.duration, notes.description, strict=True):
        if text.lower().startswith("bad"):
            result |= (onset < stop / rate) & (onset + duration > start / rate)
    return result
