"""How sure the models may be: what they were calibrated on, and what `ubp calibrate` found on test trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ubp.calibration import Calibration
from ubp.conformal import COVERAGES
from ubp.errors import InputError
from ubp.judge import AFTER, BEFORE
from ubp.page.html import figure_html, folded, heading, note, paragraphs, wide
from ubp.plots import coverage_figure
from ubp.progress import counted
from ubp.report.runs import Run

TABLE, COVERAGE = "calibration.csv", "coverage.csv"
ALL = "all"
COVERED = tuple(f"{100 * coverage:g}" for coverage in COVERAGES)
WHAT = (
    "Probabilities are those of the loss, at a temperature fitted on training concepts that no one trained on. A "
    "prediction set is the fewest images that hold the seen one with the certainty promised."
)
JUDGED = (
    "On test trials, an evaluation of which nothing goes back into a model. Error: expected calibration error, "
    "the mean distance of stated probability and accuracy, by the loss's own scale (before) and calibrated (after)."
)


def confidence(runs: Sequence[Run]) -> str:
    """Tables of calibrated runs; what is missing is said."""
    calibrated = [run for run in runs if run.about.options.calibration_concepts]
    if not calibrated:
        return paragraphs(
            "No run here was trained with calibration concepts (--calibration-concepts), so there are no probabilities "
            "and no prediction sets."
        )
    left_out = f"{len(runs) - len(calibrated)} of {len(runs)} runs have no calibration concepts."
    held = wide([_held(run) for run in calibrated])
    if len(calibrated) > 1:
        held = folded(f"What each run was calibrated on ({len(calibrated)})", held)
    parts = [paragraphs(WHAT, left_out if len(calibrated) < len(runs) else ""), held]
    for root in dict.fromkeys(run.root for run in calibrated):
        parts.append(_judged(root, [run for run in calibrated if run.root == root]))
    return "".join(parts)


def _held(run: Run) -> dict[str, Any]:
    found = Calibration.load(run.folder, run.about)
    assert found is not None
    most = max(found.answers)
    return {
        "method": run.label,
        "run": run.place,
        "calibration concepts": run.about.options.calibration_concepts,
        "queries for the temperature": len(found.held.temperature),
        "queries for the sets": len(found.held.calibration),
        "trials averaged": most,
        "temperature": f"{found.confidence(most).temperature:.3g}",
    }


def _judged(root: Path, runs: Sequence[Run]) -> str:
    title = heading(f"On test trials, {root.name}")
    if not (root / TABLE).is_file():
        return title + note(f"Not judged on test trials yet; run `ubp calibrate {root.name}`.")
    table = _read(root / TABLE, ("run", "queries", "gallery_size", "top1", *_columns()), root)
    names = {run.name: run for run in runs}
    rows = []
    for row in table.to_dict("records"):
        if row["run"] in names:
            run = names[row["run"]]
            rows.append({"method": run.label, "run": run.place, **_cells(row)})
    every = set(table["run"]) - {ALL} == set(names)
    parts = [title, paragraphs(JUDGED)]
    pooled = [row for row in table.to_dict("records") if row["run"] == ALL]
    if every and pooled and len(names) > 1:
        parts.append(wide([{"runs": f"all {len(names)} together", **_cells(pooled[0])}]))
        parts.append(folded(f"Each run ({len(rows)})", wide(rows)))
    elif rows:
        parts.append(wide(rows))
    missing = [run.name for run in runs if run.name not in set(table["run"])]
    if missing:
        parts.append(note(f"Not judged yet: {', '.join(missing)}; run `ubp calibrate {root.name}` again."))
    if every and (root / COVERAGE).is_file():
        columns = ("nominal", "covered", "low", "high", "mean_size")
        caption = (
            "Share of test queries whose set holds the seen image, over the certainty promised "
            f"({counted(len(names), 'model')} together): the dot should lie on the dotted line, within its binomial "
            "interval. Beside: images in a set."
        )
        parts.append(figure_html(coverage_figure(_read(root / COVERAGE, columns, root)), caption))
    return "".join(parts)


def _columns() -> tuple[str, ...]:
    errors = tuple(f"calibration_error_{name}" for name in (BEFORE, AFTER))
    return (*errors, *(f"{what}_{covered}" for covered in COVERED for what in ("covered", "mean_size")))


def _cells(row: dict[Any, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {"queries": int(row["queries"]), "gallery": f"{row['gallery_size']:g}"}
    for name in (BEFORE, AFTER):
        cells[f"error {name} (%)"] = f"{100 * row[f'calibration_error_{name}']:.1f}"
    for covered in COVERED:
        size = f"{row[f'mean_size_{covered}']:.1f}"
        cells[f"sets of {covered} %"] = f"{100 * row[f'covered_{covered}']:.1f} % in {size} images"
    return cells


def _read(path: Path, columns: Sequence[str], root: Path) -> pd.DataFrame:
    again = f"{path} is not a table that `ubp calibrate` wrote; run `ubp calibrate {root}` again."
    try:
        table = pd.read_csv(path, dtype={"run": str})
        return table.astype({name: float for name in columns if name != "run"})[list(columns)]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(again) from error
