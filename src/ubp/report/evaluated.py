"""What `ubp evaluate` left of the runs of a report; nothing is evaluated here."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ubp.errors import InputError
from ubp.measures import measure
from ubp.report.runs import Run
from ubp.results import RESULTS, RIDGE, Results
from ubp.saved import NUMBERS, OPTIONS, TEXTS, read_results, read_table

NEEDED = ("mean_reciprocal_rank", "mean_percentile_rank", "matched_similarity", "top1_chance")


@dataclass(frozen=True)
class Evaluated:
    """Runs of one study that were evaluated in one way.

    Parameters
    ----------
    title : str
        The study, and where there are several ways, the folder.
    results : Results
        Of top-1, with ridge regression where it was evaluated beside the runs.
    """

    title: str
    results: Results

    def methods(self) -> dict[Path, str]:
        """Folder of each run to the name of its method."""
        table = self.results.table
        places = [Path(folder, run) for folder, run in zip(table["folder"], table["run"], strict=True)]
        return dict(zip(places, table["method"], strict=True))

    def renamed(self, runs: Iterable[Run]) -> "Evaluated":
        """The same with the labels of the runs for methods, where each method has one label."""
        methods = self.methods()
        labels: dict[str, set[str]] = {}
        for run in runs:
            if run.folder in methods:
                labels.setdefault(methods[run.folder], set()).add(run.label)
        names = {method: found.pop() for method, found in labels.items() if len(found) == 1}
        return Evaluated(self.title, self.results.renamed(names))


def read_evaluations(runs: Sequence[Run]) -> tuple[list[Evaluated], list[str]]:
    """Evaluations of runs by study, and sentences on what cannot be put side by side.

    Raises
    ------
    InputError
        When a table or the ranks of a run are damaged, or do not belong together.
    """
    tables = {run.root: read_table(run.root) for run in runs if (run.root / RESULTS).is_file()}
    wanted: dict[tuple[str, str], dict[Path, set[str]]] = {}
    for run, study in zip(runs, studies(runs), strict=True):
        table = tables.get(run.root)
        if table is None or run.name not in set(table["run"]):
            continue
        beside = table["method"].str.match(rf"{RIDGE}\b") & (table["setting"] == run.about.setting)
        names = {run.name, *table["run"][beside & (table["subject"] == run.about.subject)]}
        wanted.setdefault(study, {}).setdefault(run.root, set()).update(names)
    found: list[Evaluated] = []
    sentences: list[str] = []
    shared = [name for name, _ in wanted]
    for (name, _), only in wanted.items():
        title = name if shared.count(name) == 1 else f"{name} ({', '.join(root.name for root in only)})"
        try:
            found.append(Evaluated(title, _read(list(only), only)))
        except InputError as error:
            if len(only) == 1:
                raise
            # what is damaged is so alone, too
            found += [Evaluated(f"{name}, {root.name}", _read([root], only)) for root in only]
            sentences.append(f"Runs are not compared across folders. {error}")
    return found, sentences


def studies(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The study of each run: its name, and its place where one name stands for different recordings."""
    prints: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for run in runs:
        about = run.about
        subjects = tuple(sorted({about.subject, *about.trained_on}))
        prints.setdefault((about.study, subjects), set()).add(about.study_fingerprint)
    several = {study for (study, _), found in prints.items() if len(found) > 1}
    return [(run.about.study, (run.about.study_path or "") if run.about.study in several else "") for run in runs]


def _read(roots: Sequence[Path], only: dict[Path, set[str]]) -> Results:
    results = read_results(roots, measure("top1"), only)
    table = results.table
    for name in NEEDED:
        if name not in table:
            path = Path(table["folder"].iloc[0], RESULTS)
            raise InputError(
                f"{path} has no column {name!r}; expected the table that this version of `ubp evaluate` writes, so run "
                "it again."
            )
    kept = (*TEXTS, *NUMBERS, *OPTIONS, "folder")
    numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in map(str, table) if name not in kept}
    # a figure that some runs do not have cannot stand in a table of all
    partial = [name for name, values in numbers.items() if values.isna().any() and re.match(r"top\d", name)]
    filled = {name: values for name, values in numbers.items() if not values.isna().all()}
    return Results(table.assign(**filled).drop(columns=partial), results.hits)
