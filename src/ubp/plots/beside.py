"""The same queries answered by several models, one line each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ubp.plots.style import GREY, WIDTH, new_figure, shorten, write
from ubp.plots.thumbnails import TALL, draw_tile

STEP = 1.12  # tiles from one column to the next
LABEL = 1.7  # tiles between the image seen and the best ones, for the model and its rank
LETTERS = 17  # of a label, in that room
GAP = 0.15  # tiles between queries
HEAD = 0.35


def beside_figure(
    image_folder: Path,
    tables: Mapping[str, pd.DataFrame],
    queries: Sequence[int],
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Show the image seen in some queries and, for each model, its rank and the best images, the right one framed.

    Parameters
    ----------
    image_folder : Path
        What the images are relative to.
    tables : mapping of str to DataFrame
        By model, one row a query, the same queries in the same order: image, rank, best_1, best_2, ...
    queries : sequence of int
        Rows that are shown.
    names : mapping of str to str, optional
        As of :func:`ubp.plots.montage.montage_figure`.

    Raises
    ------
    ValueError
        When there is no model or query, or the models were asked about other queries.
    InputError
        When an image cannot be read or leaves the folder.
    """
    seen = [table["image"].tolist() for table in tables.values()]
    if not seen or not len(queries) or any(images != seen[0] for images in seen):
        raise ValueError("There is no query that all models were asked about, in the same order.")
    n_best = max(sum(str(name).startswith("best_") for name in table) for table in tables.values())
    left = 1.05 + LABEL
    width = left + STEP * n_best
    block = TALL * len(tables) + GAP
    height = HEAD + block * len(queries)
    with new_figure(WIDTH * height / width, layout=None) as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.set_axis_off()
        write(axes, 0.55, 0.2, "seen", ha="center", va="center")
        for place in range(n_best):
            text = "best" if place == 0 else f"{place + 1}."
            write(axes, left + STEP * place + 0.5, 0.2, text, ha="center", va="center")
        for number, query in enumerate(queries):
            top = HEAD + block * number
            draw_tile(axes, image_folder, seen[0][query], 0.05, top, names)
            for line, (label, table) in enumerate(tables.items()):
                row, above = table.iloc[query], top + TALL * line
                write(axes, left - 0.12, above + 0.4, shorten(label, LETTERS), ha="right", va="center", fontsize=9)
                rank = f"rank {row['rank']:g}"
                write(axes, left - 0.12, above + 0.62, rank, ha="right", va="center", fontsize=8, color=GREY)
                best = [str(row[name]) for name in map(str, table) if name.startswith("best_")]
                for place, image in enumerate(best):
                    right = image == row["image"]
                    draw_tile(axes, image_folder, image, left + STEP * place, above, names, right=right)
    return figure
