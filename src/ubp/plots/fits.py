"""The training pairs that fit worst and best, as pictures."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ubp.plots.retrieved import PictureRow, picture_rows_figure

ROW = 6  # images in a row


def fits_figure(found: pd.DataFrame, image_folder: Path, n_rows: int = 2) -> Figure:
    """Show the images of the pairs that fit worst and best.

    Parameters
    ----------
    found : DataFrame
        What :func:`ubp.uncertainty.uncertainty` gives: the worst first.
    image_folder : Path
        What the images are relative to.
    n_rows : int
        Of each kind; a pair is in one of them only.

    Raises
    ------
    InputError
        When an image cannot be read or leaves the folder.
    """
    rows = []
    for title, part in (("fit worst", found), ("fit best", found[::-1])):
        for start in range(0, n_rows * ROW, ROW):
            some = part.iloc[start : min(start + ROW, len(found) // 2)]
            if len(some):
                lines = ("z: deviations from", "the mean fit") if not start else ()
                captions = [f"{z:+.1f}\n{concept}" for z, concept in zip(some["z"], some["concept"], strict=True)]
                rows.append(PictureRow("" if start else title, lines, tuple(some["image"]), tuple(captions)))
    return picture_rows_figure(image_folder, rows)
