"""What `ubp evaluate` found of a run, read back from the tables beside it."""

from pathlib import Path
from typing import Any

from ubp.class_features import CLASS_FEATURES
from ubp.description import Description
from ubp.errors import InputError
from ubp.evaluate_runs import row_of
from ubp.job import Job
from ubp.measures import measure
from ubp.results import RESULTS, comparable
from ubp.saved import read_results


def evaluations(folder: Path, about: Description) -> list[dict[str, Any]]:
    """Rows of `results.csv` about a run, of the test images first, and then of class features.

    A row counts if it lies in the run's folder or one above it, names the run by its place there, agrees with the
    model in everything that it says of it, and its accuracy is that of the run's `ranks.csv`.

    Parameters
    ----------
    folder : Path
        Of the model.
    about : Description

    Returns
    -------
    list of dict
        Values as the table has them; empty if the run was not evaluated, or the tables are of another one.
    """
    found = []
    folder = folder.resolve()
    for kind in ("", CLASS_FEATURES):
        for root in (folder, *folder.parents):
            if (root / kind / RESULTS).is_file():
                run = folder.relative_to(root)
                try:
                    table = read_results([root / kind], measure("top1"), [run.as_posix()]).table
                except InputError:
                    break
                ours = row_of(about.study, about.method, Job.of(about), len(about.channels), run)
                found += [row for row in table.to_dict("records") if _agrees(row, ours)][:1]
                break
    return [{str(key): value for key, value in row.items()} for row in found]


def _agrees(row: dict[Any, Any], ours: dict[str, Any]) -> bool:
    return all(key in row and comparable(row[key]) == comparable(value) for key, value in ours.items())
