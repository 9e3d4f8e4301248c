"""The files of one recording, read and checked: trials.csv, channels.csv and the header of signals.npy."""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.errors import InputError

SPLITS = ("train", "test")
SIGNAL_DTYPES = ("float32", "float16")
TRIAL_COLUMNS = ("image", "concept", "split", "repetition", "session")
CHANNEL_COLUMNS = ("name", "type")


@dataclass(frozen=True)
class SignalsHeader:
    """Where the numbers of a signals.npy are: shape (n_trials, n_channels, n_times), dtype, and first byte."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one trial."""
        return self.shape[1] * self.shape[2] * self.dtype.itemsize


def read_signals_header(path: Path) -> SignalsHeader:
    """Read the header of a signals.npy and compare it with the size of the file; no signal is read.

    Raises
    ------
    InputError
        When the file is absent, not a version 1 or 2 .npy file, of another type or order, or cut short.
    """
    expected = "expected a float32 or float16 array (n_trials, n_channels, n_times) as numpy.save writes it"
    if not path.is_file():
        raise InputError(f"{path} does not exist; {expected}.")
    try:
        with path.open("rb") as handle:
            version = np.lib.format.read_magic(handle)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran_order, dtype = read(handle)
            offset = handle.tell()
    except (ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path} is not a .npy file that can be read ({error}); {expected}.") from error
    if dtype.name not in SIGNAL_DTYPES or not dtype.isnative:
        raise InputError(f"{path} holds numbers of type {dtype.str}; {expected}.")
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"{path} has shape {shape}; {expected}, none of them zero.")
    if fortran_order:
        raise InputError(f"{path} is in Fortran order; {expected} from an array in C order.")
    header = SignalsHeader(shape, dtype, offset)
    size, needed = path.stat().st_size, offset + shape[0] * header.row_bytes
    if size != needed:
        found = "is cut short" if size < needed else "is too long"
        raise InputError(f"{path} {found}: it has {size} bytes, and shape {shape} needs {needed}; write it again.")
    return header


def read_table(path: Path, columns: Sequence[str], text: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """Read a CSV file that must have `columns`; those in `text` stay text ("001", "NA"), further columns are kept.

    Raises
    ------
    InputError
        When the file is absent, unreadable, ragged, or lacks a column.
    """
    what = f"the columns {', '.join(columns)}" if columns else "rows below a row of names"
    expected = f"expected {what}"
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a table with {what}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            found = list(pd.read_csv(path, nrows=0, sep=separator).columns)
            missing = [name for name in columns if name not in found]
            if missing:
                raise InputError(f"{path} has no column {missing[0]!r}; {expected}.")
            return pd.read_csv(
                path,
                sep=separator,
                # interned: an image's name is stored once, however many trials and subjects there are
                converters=dict.fromkeys(text, sys.intern),
                # "NA" and "null" are names like any other
                keep_default_na=False,
                na_values={name: [""] for name in found if name not in text},
                index_col=False,
            )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as a table ({reason}); {expected}.") from error


def read_trials(path: Path, n_trials: int) -> pd.DataFrame:
    """Read and check a trials.csv that describes `n_trials` rows of signals.

    Raises
    ------
    InputError
        When the length is another, or a cell breaks a rule; the message names file, row (counted from 0) and rule.
    """
    table = read_table(path, TRIAL_COLUMNS, text=("image", "concept", "split", "session"))
    if len(table) != n_trials:
        raise InputError(
            f"{path} has {len(table)} rows and signals.npy beside it has {n_trials} trials; "
            "expected one row per trial, in the same order."
        )
    for name in ("image", "concept"):
        empty = (table[name].str.strip() == "").to_numpy()
        if empty.any():
            raise InputError(f"{path}, row {empty.argmax()}: the {name} is empty; expected a name.")
    wrong = (~table["split"].isin(SPLITS)).to_numpy()
    if wrong.any():
        row = wrong.argmax()
        raise InputError(f"{path}, row {row}: the split is {table['split'].iloc[row]!r}; expected 'train' or 'test'.")
    number = pd.to_numeric(table["repetition"], errors="coerce").to_numpy(float)
    wrong = ~((number >= 0) & (number == np.floor(number)) & (number < 2**31))
    if wrong.any():
        row = wrong.argmax()
        found = table["repetition"].iloc[row]
        raise InputError(f"{path}, row {row}: the repetition is {found!s}; expected a whole number from 0.")
    table["repetition"] = number.astype(np.int64)
    return table


def read_channels(
    path: Path, n_channels: int, separator: str = ",", signals: str = "signals.npy beside it"
) -> pd.DataFrame:
    """Read and check a channels.csv that describes the `n_channels` channels of `signals`.

    Raises
    ------
    InputError
        When the length is another, or a name is empty or occurs twice.
    """
    table = read_table(path, CHANNEL_COLUMNS, CHANNEL_COLUMNS, separator)
    if len(table) != n_channels:
        raise InputError(
            f"{path} has {len(table)} rows and {signals} has {n_channels} channels; "
            "expected one row per channel, in the same order."
        )
    empty = (table["name"].str.strip() == "").to_numpy()
    if empty.any():
        raise InputError(f"{path}, row {empty.argmax()}: the name is empty; expected a channel name.")
    double = table["name"].duplicated().to_numpy()
    if double.any():
        row = double.argmax()
        raise InputError(
            f"{path}, row {row}: the channel {table['name'].iloc[row]!r} occurs twice; expected every name once."
        )
    return table
