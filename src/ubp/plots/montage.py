"""Queries and their best images, the right one framed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ubp.plots.style import WIDTH, new_figure, write
from ubp.plots.thumbnails import TALL, draw_tile

STEP = 1.12  # tiles from one column to the next
START = 0.95  # tiles left of the first column, for the rank
BREAK = 0.3  # tiles between the seen image and the best ones


def choose_queries(ranks: np.ndarray, n_queries: int, seed: int = 0) -> np.ndarray:
    """Choose queries evenly from the best to the worst rank; among equal ranks by chance.

    Parameters
    ----------
    ranks : array of shape (n,)
    n_queries : int
        All are chosen when there are fewer.
    seed : int

    Returns
    -------
    int array, positions in `ranks` by increasing rank
    """
    ranks = np.asarray(ranks, float)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(ranks)), ranks))
    chosen = np.linspace(0, len(ranks) - 1, min(n_queries, len(ranks))).round().astype(int)
    return order[chosen]


def montage_figure(
    image_folder: Path,
    table: pd.DataFrame,
    n_queries: int = 8,
    seed: int = 0,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Show the seen image and the best images of some queries, good and bad, with a frame around the right one.

    Parameters
    ----------
    image_folder : Path
        What the images are relative to.
    table : DataFrame
        One row a query: image, rank, best_1, best_2, ...; what :meth:`ubp.evaluate.Ranking.table` gives.
    n_queries : int
        Queries shown, spread evenly over the ranks by :func:`choose_queries`.
    seed : int
        Of the choice among equal ranks.
    names : mapping of str to str, optional
        Name to write under an image, such as its concept; by default its file name.

    Raises
    ------
    ValueError
        When the table has no query.
    InputError
        When an image cannot be read or leaves the folder.
    """
    places = [column for column in table.columns if column.startswith("best_")]
    if not len(table) or not places:
        raise ValueError("The table of ranks has no query or no best images; expected columns image, rank, best_1, ...")
    rows = table.iloc[choose_queries(table["rank"].to_numpy(), n_queries, seed)]
    width = START + BREAK + STEP * (1 + len(places))
    height = TALL * len(rows) + 0.35
    with new_figure(WIDTH * height / width, layout=None) as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.set_axis_off()
        write(axes, START + 0.5, 0.2, "seen", ha="center", va="center")
        for place in range(len(places)):
            text = "best" if place == 0 else f"{place + 1}."
            write(axes, _column(place) + 0.5, 0.2, text, ha="center", va="center")
        for i, row in enumerate(rows.to_dict("records")):
            top = 0.35 + TALL * i
            write(axes, START - 0.12, top + 0.5, f"rank {row['rank']:g}", ha="right", va="center", fontsize=10)
            draw_tile(axes, image_folder, row["image"], START, top, names)
            for place, column in enumerate(places):
                draw_tile(
                    axes, image_folder, row[column], _column(place), top, names, right=row[column] == row["image"]
                )
    return figure


def _column(place: int) -> float:
    return START + BREAK + STEP * (1 + place)
