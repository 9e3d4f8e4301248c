"""Queries and their best images, good and bad ones alike; the same ones side by side where runs share their queries."""

from collections.abc import Sequence

import pandas as pd

from ubp.data.study import Study
from ubp.errors import InputError
from ubp.evaluate import read_ranks
from ubp.page.html import figure_html, heading, note, wide
from ubp.plots import beside_figure, choose_queries, montage_figure
from ubp.report.runs import Run
from ubp.report.studies import Studies, absent, without_place

ALONE, BESIDE = 8, 5  # queries of one run, and of each group of several
CHOICE = (
    "taken at equal steps from the best rank to the worst, so good and bad ones alike; among equal ranks by a seeded "
    "chance"
)


def queries(shown: Sequence[Run], studies: Studies) -> str:
    """Pictures of each group of runs with the same queries, or names where the images are not at hand."""
    groups: dict[tuple[str, ...], list[tuple[Run, pd.DataFrame]]] = {}
    for run in shown:
        table = read_ranks(run.folder, run.root, best=True)
        key = run.about.study_fingerprint, *table["image"]
        groups.setdefault(key, []).append((run, table))
    return "".join(_of_group(group, studies) for group in groups.values())


def _of_group(group: Sequence[tuple[Run, pd.DataFrame]], studies: Studies) -> str:
    run, table = group[0]
    study = studies.of(run)
    chosen = choose_queries(table["rank"].to_numpy(), ALONE if len(group) == 1 else BESIDE).tolist()
    title = heading("; ".join(f"{run.label}, {run.place}" for run, _ in group))
    names = "".join(wide(_names(table, chosen, run.label)) for run, table in group)
    if study is None:
        return title + note(absent(run)) + names
    try:
        return title + (_alone(run, table, study) if len(group) == 1 else _beside(group, chosen, study))
    except InputError as error:
        return title + note(f"The images are left out: {without_place(error, study)}") + names


def _alone(run: Run, table: pd.DataFrame, study: Study) -> str:
    caption = (
        f"{min(ALONE, len(table))} of {len(table)} test queries ({run.label}, {run.place}), {CHOICE}. Left: the "
        f"image seen and its rank in the gallery. Right: the {_n_best(table)} most similar images, the right one "
        "framed where it is among them."
    )
    figure = montage_figure(study.image_folder, table, ALONE, names=study.concepts)
    return figure_html(figure, caption, photographic=True)


def _beside(group: Sequence[tuple[Run, pd.DataFrame]], chosen: list[int], study: Study) -> str:
    first, table = group[0]
    tables = {run.label: table for run, table in group}
    caption = (
        f"{len(chosen)} of {len(table)} test queries, {CHOICE}, in the order of {first.label}. Left: the image seen. "
        f"Right: its rank in the gallery and the {_n_best(table)} most similar images by each of "
        f"{', '.join(tables)} ({first.place}), the right one framed where it is among them."
    )
    figure = beside_figure(study.image_folder, tables, chosen, study.concepts)
    return figure_html(figure, caption, photographic=True)


def _n_best(table: pd.DataFrame) -> int:
    return sum(str(name).startswith("best_") for name in table)


def _names(table: pd.DataFrame, chosen: list[int], label: str) -> list[dict[str, str]]:
    rows = []
    for row in table.iloc[chosen].to_dict("records"):
        cells = {"run": label, "image seen": row["image"], "rank": f"{row['rank']:g}"}
        best = [name for name in row if str(name).startswith("best_")]
        rows.append(cells | {"best" if i == 0 else f"{i + 1}.": row[name] for i, name in enumerate(best)})
    return rows
