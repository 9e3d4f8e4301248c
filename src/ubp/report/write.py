"""Put the parts of the report together and save them as one file."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ubp.data.study import Study
from ubp.errors import InputError
from ubp.report import figures, tables
from ubp.report.page import save_page
from ubp.report.runs import Run


def write_report(
    path: Path | str,
    *,
    title: str,
    study: Study,
    runs: Sequence[Path],
    summary: pd.DataFrame,
    results: pd.DataFrame,
    comparisons: pd.DataFrame | None = None,
    image_size: int,
) -> Path:
    """Write the report of evaluated runs as one HTML file that needs nothing else.

    Methods come in the order of the summary. The blur ladder, the similarities and the queries are those of the first
    run whose blur is dynamic (the first run, if there is none), the training curves those of one run per method, of
    the same subject and seed where there is one.

    Parameters
    ----------
    path : path
        The new file; it is complete or absent, and replaces an older one.
    title : str
    study : Study
    runs : sequence of Path
        Folders of evaluated models, with their `ranks.csv`.
    summary, comparisons, results : DataFrame
        What :class:`ubp.results.Results` gives: a row per method, per pair of methods, and per run.
    image_size : int
        Side of the encoder's input in pixels, for the ladder.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        When there is no run, or one is not trained or not evaluated, or an image cannot be read.
    UbpError
        When the disk is full or cannot be written.
    """
    if not runs:
        raise InputError("The report was given no run; expected the folder of at least one evaluated model.")
    order = {method: place for place, method in enumerate(summary["method"].unique())}
    opened = [Run.open(Path(folder)) for folder in runs]
    opened.sort(key=lambda run: order.get(run.about.method, len(order)))
    dynamic = [run for run in opened if run.about.preset.dynamic]
    shown = next((run for run in dynamic if not run.about.options.shuffle_pairs), (dynamic or opened)[0])
    queries = figures.montage(study, shown)  # first, because it tells whether the run was evaluated
    parts = [
        ("Result", tables.result(study, summary, results)),
        ("Accuracy", figures.accuracy(summary)),
        *([("Differences", tables.differences(comparisons))] if comparisons is not None and len(comparisons) else []),
        ("Blur ladder", figures.ladder(study, shown, image_size)),
        ("Training", figures.training(opened, shown)),
        *([("Similarities", figures.similarities(shown))] if shown.about.preset.dynamic else []),
        ("Queries and their best images", queries),
        ("Settings", tables.settings(opened, results)),
        ("Study, licence and citation", tables.about(study)),
    ]
    return save_page(Path(path), title, parts)
