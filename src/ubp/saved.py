"""Evaluated runs read back from their tables, without signals, images or models."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ubp.errors import InputError
from ubp.evaluate import RANKS, UNLABELLED_TRIALS, by_image, read_ranks
from ubp.files import inside
from ubp.measures import Measure
from ubp.results import RESULTS, TRAINED_BY, Results, collect_scores, comparable

TEXTS = ("study", "setting", "subject", "method", "run", "gallery_level", "query", "protocol")
NUMBERS = ("seed", "gallery_size", "repetitions", "top1")
OPTIONS = (*TRAINED_BY, "vision_encoder", "channels", "window", "gallery_level")
SAME_WAY = ("gallery_size", "query", "repetitions", "protocol")


@dataclass(frozen=True)
class _Saved:
    """A row of a folder's `results.csv`, and the rank of every query of that run."""

    row: dict[str, Any]
    ranks: pd.DataFrame


def read_results(
    folders: Iterable[Path | str],
    measure: Measure,
    only: Collection[str] | Mapping[Path, Collection[str]] | None = None,
) -> Results:
    """Scores by image of all runs that `ubp evaluate` left in these folders.

    Runs of one method in several folders are put together if they have the same options and do not contradict each
    other; else the folder's name is added to the method's, so that they stand beside each other.

    Parameters
    ----------
    folders : iterable of path
        Each holds a `results.csv`, or is that file; a folder named twice counts once.
    measure : Measure
    only : collection of str, optional
        Runs to read, by their names in `results.csv`, or such names for each folder; by default all.

    Returns
    -------
    Results
        `hits` holds the measure instead of top-1. The table has a column more than the file, `folder`.

    Raises
    ------
    InputError
        When there is no folder, a table is missing, has other columns or does not belong to the runs' `ranks.csv`, or
        runs are of different studies or were evaluated in different ways.
    """
    places = {_folder(Path(folder)).resolve(): _folder(Path(folder)) for folder in folders}
    if not places:
        raise InputError("No folder of runs was given; expected one that `ubp evaluate` wrote results.csv to.")
    saved = {folder: _read(folder, only[folder] if isinstance(only, Mapping) else only) for folder in places.values()}
    found = [one for runs in _told_apart(saved) for one in runs]
    _check_one_study(found)
    _check_same_way(found)
    _check_one_track(found)
    return collect_scores((one.row, _scores(one, measure)) for one in found)


def _folder(path: Path) -> Path:
    return path.parent if path.name == RESULTS else path


def read_table(folder: Path) -> pd.DataFrame:
    """The `results.csv` of a folder, as texts.

    Raises
    ------
    InputError
        When it is missing, cannot be read, or has other columns or no row.
    """
    path = folder / RESULTS
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise InputError(f"{folder} has no {RESULTS}; run `ubp evaluate {folder}` first.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table; run `ubp evaluate {folder}` again.") from error
    missing = [name for name in (*TEXTS, *NUMBERS) if name not in table]
    if missing or not len(table):
        what = f"column {missing[0]!r}" if missing else "row"
        raise InputError(
            f"{path} has no {what}; expected the table that this version of `ubp evaluate` writes, so run it again."
        )
    return table


def _read(folder: Path, only: Collection[str] | None = None) -> list[_Saved]:
    path, table = folder / RESULTS, read_table(folder)
    saved = []
    for row in table.to_dict("records"):
        if only is not None and row["run"] not in only:
            continue
        try:
            numbers: dict[str, float] = {name: float(row[name]) for name in NUMBERS}
            numbers |= {name: int(row[name]) for name in ("seed", "gallery_size")}
        except ValueError as error:
            raise InputError(
                f"{path} holds {str(error).rpartition(' ')[2]} where a number was expected; "
                f"run `ubp evaluate {folder}` again."
            ) from error
        ranks = read_ranks(inside(folder, row["run"]), folder)
        about = {str(key): value for key, value in row.items()} | numbers | {"folder": str(folder)}
        saved.append(_Saved(about, ranks))
        _check_belongs(saved[-1], folder)
    return saved


def _check_belongs(saved: _Saved, folder: Path) -> None:
    row, rank = saved.row, saved.ranks["rank"].to_numpy(float)
    hits = by_image(rank <= 1, list(saved.ranks["image"]))
    if (
        not len(rank)
        or not ((rank >= 1) & (rank <= row["gallery_size"])).all()
        or abs(hits.mean() - row["top1"]) > 1e-9
        or abs(saved.ranks["repetitions"].mean() - row["repetitions"]) > 1e-9
    ):
        raise InputError(
            f"{folder / row['run'] / RANKS} is not what {folder / RESULTS} was made from; run `ubp evaluate {folder}` "
            "again, so that both are of one evaluation."
        )


def _told_apart(saved: dict[Path, list[_Saved]]) -> list[list[_Saved]]:
    """The runs of every folder, methods renamed where folders disagree, repeated runs once."""
    short = [folder.name for folder in saved]
    labels = {folder: folder.name if short.count(folder.name) == 1 else str(folder) for folder in saved}
    by_method: dict[tuple[str, str], dict[Path, list[_Saved]]] = {}
    for folder, runs in saved.items():
        for one in runs:
            by_method.setdefault((one.row["setting"], one.row["method"]), {}).setdefault(folder, []).append(one)
    result: list[list[_Saved]] = []
    for (_, method), parts in by_method.items():
        if len(parts) == 1:
            result += parts.values()
        elif _agree(list(parts.values())):
            every = [one for runs in parts.values() for one in runs]
            result.append(list({(one.row["subject"], one.row["seed"]): one for one in every}.values()))
        else:
            result += [
                [_Saved(one.row | {"method": f"{method} ({labels[folder]})"}, one.ranks) for one in runs]
                for folder, runs in parts.items()
            ]
    return result


def _agree(parts: Sequence[list[_Saved]]) -> bool:
    """Whether runs of one method have one set of options, and those of one subject and seed have the same ranks."""
    seen: dict[tuple[str, int], pd.DataFrame] = {}
    options = set()
    for one in (one for runs in parts for one in runs):
        options.add(tuple(comparable(one.row.get(name)) for name in OPTIONS))
        ranks = seen.setdefault((one.row["subject"], one.row["seed"]), one.ranks)
        if not ranks.equals(one.ranks):
            return False
    return len(options) == 1


def _check_one_study(found: Sequence[_Saved]) -> None:
    studies = sorted({one.row["study"] for one in found})
    if len(studies) > 1:
        raise InputError(
            f"The runs are of the studies {' and '.join(studies)}; compare the runs of one study at a time."
        )


def _check_same_way(found: Sequence[_Saved]) -> None:
    first: dict[tuple[str, str], _Saved] = {}
    for one in found:
        row = one.row
        other = first.setdefault((row["setting"], row["subject"]), one).row
        for name in SAME_WAY:
            if _alike(row[name]) != _alike(other[name]):
                raise InputError(
                    f"{row['method']} and {other['method']} of {row['subject']} ({row['setting']}) were evaluated "
                    f"differently: {name.replace('_', ' ')} {row[name]} and {other[name]}; evaluate both the same way."
                )


def _check_one_track(found: Sequence[_Saved]) -> None:
    """Transductive runs stand with runs of the same track alone, in whatever setting and of whatever subject."""
    kinds = list(dict.fromkeys(_alike(one.row["protocol"]) for one in found))
    together = [kind for kind in kinds if kind.startswith("transductive")]
    if together and len(kinds) > 1:
        other = next(kind for kind in kinds if kind != together[0])
        raise InputError(
            f"Some runs were evaluated by the protocol {together[0]!r} and some by {other!r}; compare inductive runs "
            "with inductive ones, and transductive runs with those of the same track."
        )


def _alike(value: Any) -> Any:
    """A protocol as it is compared: with or without alignment every query is ranked alone, and tables name both."""
    return value.replace(UNLABELLED_TRIALS, "") if isinstance(value, str) else value


def _scores(saved: _Saved, measure: Measure) -> pd.Series:
    rank = np.asarray(saved.ranks["rank"], float)
    return by_image(measure.score(rank, saved.row["gallery_size"]), list(saved.ranks["image"]))
