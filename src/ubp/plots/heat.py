"""A table of gains as a heat map."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ubp.plots.style import INK, LIGHT, new_figure
from ubp.plots.topography import colour_bar

COLOURS = "PuOr"  # light in the middle and dark at both ends, so signs stand beside the colours


def heat_figure(
    values: np.ndarray, marks: np.ndarray, rows: Sequence[str], columns: Sequence[str], label: str
) -> Figure:
    """Plot gains as colours with their numbers, symmetric about 0.

    Parameters
    ----------
    values : array of shape (n_rows, n_columns)
        Points; NaN is shown as missing.
    marks : bool array of that shape
        Cells to print in bold, with a star.
    rows, columns : sequence of str
    label : str
        Of the colour bar.
    """
    limit = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-3)
    with new_figure(1.5 + 0.55 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.set_facecolor(LIGHT)
        shown = axes.imshow(np.ma.masked_invalid(values), cmap=COLOURS, vmin=-limit, vmax=limit, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            text = "missing" if np.isnan(value) else f"{value:+.1f}{'*' if marks[row, column] else ''}"
            weight = "bold" if marks[row, column] else "normal"
            dark = np.isfinite(value) and abs(value) > 0.5 * limit
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else INK, weight=weight)
        turned = len(columns) > 5
        axes.set_xticks(range(len(columns)), columns, rotation=30 if turned else 0, ha="right" if turned else "center")
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="vision encoder", ylabel="brain encoder")
        colour_bar(figure, shown, axes, label)
    return figure
