"""Queries and their best images, good and bad ones alike."""

from collections.abc import Sequence

import pandas as pd

from ubp.errors import InputError
from ubp.evaluate import read_ranks
from ubp.page.html import figure_html, heading, note, wide
from ubp.plots import choose_queries, montage_figure
from ubp.report.runs import Run
from ubp.report.studies import Studies, absent, without_place

ALONE, BESIDE = 8, 5  # queries of one run, and of each of several


def queries(shown: Sequence[Run], studies: Studies) -> str:
    """A montage of each run, or a table of names where the images are not at hand."""
    return "".join(_of_run(run, studies, ALONE if len(shown) == 1 else BESIDE) for run in shown)


def _of_run(run: Run, studies: Studies, n_queries: int) -> str:
    table = read_ranks(run.folder, run.root, best=True)
    study = studies.of(run)
    n = min(n_queries, len(table))
    what = (
        f"{n} of {len(table)} test queries ({run.label}, {run.place}), taken at equal steps from the best rank to the "
        "worst, so good and bad ones alike; among equal ranks by a seeded chance."
    )
    title = heading(f"{run.label}, {run.place}")
    if study is None:
        return title + note(absent(run)) + wide(_names(table, n_queries))
    try:
        figure = montage_figure(study.image_folder, table, n_queries, names=study.concepts)
    except InputError as error:
        return title + note(f"The images are left out: {without_place(error, study)}") + wide(_names(table, n_queries))
    caption = (
        f"{what} Left: the image seen and its rank in the gallery. Right: the {_n_best(table)} most similar images, "
        "the right one framed where it is among them."
    )
    return title + figure_html(figure, caption, photographic=True)


def _n_best(table: pd.DataFrame) -> int:
    return sum(str(name).startswith("best_") for name in table)


def _names(table: pd.DataFrame, n_queries: int) -> list[dict[str, str]]:
    rows = []
    for row in table.iloc[choose_queries(table["rank"].to_numpy(), n_queries)].to_dict("records"):
        cells = {"image seen": row["image"], "rank": f"{row['rank']:g}"}
        best = [name for name in row if str(name).startswith("best_")]
        rows.append(cells | {"best" if i == 0 else f"{i + 1}.": row[name] for i, name in enumerate(best)})
    return rows
