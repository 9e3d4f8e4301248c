"""A table of trials from anywhere becomes that of a study: image, concept, split, repetition, session."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ubp.config import unknown
from ubp.data.import_options import IMAGE_COLUMNS, TrialOptions
from ubp.data.tables import SPLITS, TRIAL_COLUMNS
from ubp.errors import InputError

MISSING = ("", "n/a")  # the second is that of BIDS


def trial_table(
    table: pd.DataFrame, where: str, images: Path, options: TrialOptions, session: str | None = None
) -> pd.DataFrame:
    """The rows that name an image, with a study's columns first and the other columns after them.

    Parameters
    ----------
    table : DataFrame
        One row per trial.
    where : str
        What the table is, for messages.
    images : Path
        Names that start with this folder are cut to what follows it.
    options : TrialOptions
        Which column says what.
    session : str, optional
        Session of the whole table.

    Returns
    -------
    DataFrame
        Its index holds row numbers of `table`. The split is empty where :func:`draw_test_concepts` is to fill it; the
        repetition is NaN where there is no column `repetition` of whole numbers.

    Raises
    ------
    InputError
        When a column is missing, or a cell of a row with an image is empty.
    """
    table = table.reset_index(drop=True).rename(columns=str)
    column = _image_column(table, where, options.image_column)
    table = table[~_missing(table[column])]
    result = pd.DataFrame(index=table.index)
    result["image"] = _names(table[column], images)
    concept = _optional(table, where, options.concept_column, "concept")
    folders = result["image"].map(lambda name: PurePosixPath(name).parent.name or PurePosixPath(name).stem)
    result["concept"] = folders if concept is None else _text(table[concept], where)
    result["split"] = "" if options.test_concepts or table.empty else _split(table, where, options.split_column)
    result["repetition"] = _whole_numbers(table)
    if options.session_column is None and session is not None:
        result["session"] = session
    else:
        column_of_session = _optional(table, where, options.session_column, "session")
        result["session"] = "1" if column_of_session is None else _text(table[column_of_session], where)
    used = (column, concept, *TRIAL_COLUMNS)
    return result.join(table[[name for name in table if name not in used]])


def _image_column(table: pd.DataFrame, where: str, asked: str | None) -> str:
    for name in (asked,) if asked else IMAGE_COLUMNS:
        if name in table:
            return name
    if asked:
        raise unknown(f"column of {where}", asked, map(str, table))
    raise InputError(
        f"{where} has neither a column {' nor '.join(IMAGE_COLUMNS)} with the image of every trial; "
        f"name one of its columns ({', '.join(map(str, table)) or 'it has none'}) as image_column."
    )


def has_image(table: pd.DataFrame, column: str | None) -> np.ndarray:
    """Which rows name an image; none where there is no such column."""
    for name in (column,) if column else IMAGE_COLUMNS:
        if name in table:
            return ~_missing(table[name]).to_numpy()
    return np.zeros(len(table), bool)


def _optional(table: pd.DataFrame, where: str, asked: str | None, usual: str) -> str | None:
    if asked is None:
        return usual if usual in table else None
    if asked not in table:
        raise unknown(f"column of {where}", asked, map(str, table))
    return asked


def _split(table: pd.DataFrame, where: str, column: str) -> pd.Series:
    if column not in table:
        raise InputError(
            f"{where} has no column {column!r} with {SPLITS[0]} or {SPLITS[1]}; name the column (split_column), or say "
            "how many concepts to take as the test split (test_concepts)."
        )
    split = _text(table[column], where)
    wrong = (~split.isin(SPLITS)).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{where}, row {split.index[row]}: the {column} is {split.iloc[row]!r}; "
            f"expected {SPLITS[0]} or {SPLITS[1]}."
        )
    return split


def _missing(cells: pd.Series) -> pd.Series:
    return cells.isna() | cells.astype(str).str.strip().isin(MISSING)


def _text(cells: pd.Series, where: str) -> pd.Series:
    missing = _missing(cells).to_numpy()
    if missing.any():
        raise InputError(
            f"{where}, row {cells.index[int(missing.argmax())]}: the {cells.name} is empty; expected a name."
        )
    return cells.astype(str)


def _names(cells: pd.Series, images: Path) -> pd.Series:
    """Paths relative to the folder of images, with slashes."""
    folder = PurePosixPath(images.absolute().as_posix())

    def name(text: str) -> str:
        path = PurePosixPath(text)
        return str(path.relative_to(folder) if path.is_absolute() and path.is_relative_to(folder) else path)

    texts = cells.astype(str).str.strip().str.replace("\\", "/", regex=False)
    return texts.map({text: name(text) for text in texts.unique()})


def _whole_numbers(table: pd.DataFrame) -> pd.Series:
    if "repetition" not in table:
        return pd.Series(np.nan, table.index)
    numbers = pd.to_numeric(table["repetition"], errors="coerce").astype(float)
    whole = (numbers >= 0) & (numbers == np.floor(numbers)) & (numbers < 2**31)
    return numbers if whole.all() else pd.Series(np.nan, table.index)


def join_tables(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The trials of one subject, one file after another; presentations are counted where their number is not known."""
    joined = pd.concat(tables, ignore_index=True)
    if joined["repetition"].isna().any():
        joined["repetition"] = joined.groupby("image").cumcount()
    return joined.astype({"repetition": np.int64})


def draw_test_concepts(tables: Mapping[str, pd.DataFrame], n_concepts: int, seed: int = 0) -> None:
    """Fill the split of all subjects' tables: so many of all concepts, chosen at random, test.

    Raises
    ------
    InputError
        When fewer than 2 concepts are left to train on.
    """
    concepts = sorted({concept for table in tables.values() for concept in table["concept"]})
    if n_concepts > len(concepts) - 2:
        raise InputError(
            f"{n_concepts} of {len(concepts)} concepts were to be the test split; expected at least 2 left to train on."
        )
    test = set(np.random.default_rng(seed).permutation(concepts)[:n_concepts].tolist())
    for table in tables.values():
        table["split"] = np.where(table["concept"].isin(test), "test", "train")
