"""The table of a grid's results: one row a cell, as Parquet, and as the results.csv that `ubp compare` reads."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ubp.config import TrainOptions
from ubp.data.study import Study
from ubp.errors import InputError, UbpError
from ubp.files import atomic_file, write_text
from ubp.grid.cell import Cell
from ubp.grid.factors import NAMES, protocol_folder, text
from ubp.results import RESULTS

TABLE = "grid.parquet"
ABOUT = ("cell", "variant", "fingerprint", "store", "device", "seconds")
OPTION_FACTORS = ("brain_encoder", "vision_encoder")
DEFAULTS = {
    option.name: text(option.default) if isinstance(option.default, tuple) else option.default
    for option in dataclasses.fields(TrainOptions)
}
NOT_IN_A_NAME = ("setting", "subject", "method", "seed", "average", "shuffle_pairs")

Row = dict[str, Any]


def check_parquet() -> None:
    """Refuse to begin without the library that writes the table.

    Raises
    ------
    UbpError
        When it is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UbpError("The table of a grid needs pyarrow; install it with: pip install 'ubp[grid]'.") from error


def read_rows(out: Path) -> dict[str, Row]:
    """Rows of the table by key of the cell; none when there is no table.

    Raises
    ------
    InputError
        When the file is not such a table.
    """
    path = out / TABLE
    if not path.exists():
        return {}
    other = f"{path} is not a table that `ubp grid` wrote; choose another folder or remove the file."
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise InputError(other) from error
    if not {"setting", "subject", "method", "run", *ABOUT} <= set(table) or table["cell"].duplicated().any():
        raise InputError(other)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return {str(row["cell"]): {str(name): value for name, value in row.items()} for row in rows}


def check_belongs(
    out: Path, rows: Mapping[str, Row], cells: Sequence[Cell], study: Study, fingerprint: Mapping[tuple[str, ...], str]
) -> None:
    """Refuse the table of another study, and one that shares no method and options with this grid.

    Raises
    ------
    InputError
    """
    for row in rows.values():
        subject = str(row["subject"])
        needs = (subject,) if row["setting"] == "intra-subject" else study.subjects
        expected = fingerprint.get(needs) or (study.fingerprint(needs) if subject in study.subjects else None)
        if row["fingerprint"] != expected:
            raise InputError(
                f"{out / TABLE} holds results of another study ({row['study']!r}, {subject}), or this study's "
                "recordings have changed since; choose another folder."
            )
    if rows and not {row["variant"] for row in rows.values()} & {cell.variant for cell in cells}:
        first = next(iter(rows.values()))
        raise InputError(
            f"{out / TABLE} holds the results of another grid ({first['method']} and others, with none of these "
            "methods and options); choose another folder, or declare a product that goes on with that grid."
        )


def save_rows(out: Path, rows: Iterable[Row]) -> pd.DataFrame:
    """Write the table, atomically."""
    table = pd.DataFrame(list(rows))
    with atomic_file(out / TABLE) as handle:
        table.to_parquet(handle, index=False)
    return table


def save_results(out: Path, table: pd.DataFrame) -> list[Path]:
    """Write a results.csv for each way to evaluate; gives their folders.

    Methods are named apart by the factors in which their rows differ, such as ``ubp (width 13)``.
    """
    folders = []
    for average, part in table.groupby("average", sort=False):
        folder = out / protocol_folder(str(average))
        results = part.assign(method=names_apart(part), channels=part["n_channels"])
        results["brain_encoder"] = results["brain_encoder"].fillna(part["method"])
        first = ["study", "setting", "subject", "method", "brain_encoder", "vision_encoder", "seed"]
        rest = [name for name in results if name not in (*first, *ABOUT, "average", "n_channels")]
        write_text(folder / RESULTS, results[first + rest].to_csv(index=False))
        folders.append(folder)
    return folders


def names_apart(table: pd.DataFrame) -> list[str]:
    """A name of every row's method, equal if and only if the rows differ in setting, subject or seed alone."""
    base = [
        f"{row['method']}, shuffled" if row["shuffle_pairs"] is True else str(row["method"]) for row in _records(table)
    ]
    names = pd.Series(base, index=table.index)
    for _, part in table.groupby([table["setting"], names], sort=False):
        told = {name: _told(part, name) for name in NAMES if name not in NOT_IN_A_NAME}
        differing = [name for name, values in told.items() if len(set(map(str, values))) > 1]
        for place, index in enumerate(part.index):
            values = [_value(name, told[name][place]) for name in differing]
            if values:
                names.loc[index] = f"{names.loc[index]} ({'; '.join(values)})"
    return list(names)


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")


def _told(part: pd.DataFrame, name: str) -> list[Any]:
    """A factor's value in every row; rows older than an option have its default."""
    usual = DEFAULTS.get(name)
    values = part[name] if name in part else [None] * len(part)
    return [usual if pd.isna(value) else value for value in values]


def _value(name: str, value: Any) -> str:
    # a comma would set a shuffled method apart
    shown = f"{value:g}" if isinstance(value, float) else str(value).replace(",", " ")
    return shown if name in OPTION_FACTORS else f"{name} {shown}"
