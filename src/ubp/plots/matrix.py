"""Similarity matrices of pairs, each beside the distribution of its diagonal."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ubp.plots.similarity import draw_similarities
from ubp.plots.style import INK, new_figure
from ubp.plots.topography import colour_bar

COLOURS = "cividis"
NAMES = {"train": "training", "test": "test"}


def matrices_figure(
    splits: Mapping[str, tuple[np.ndarray, np.ndarray, float, float, np.ndarray]],
) -> Figure:
    """Plot a row a split: the matrix, and the histogram of matched similarities with the interval and the levels.

    Parameters
    ----------
    splits : mapping of str to (matrix, diagonal, low, high, levels)
        By "train" and "test": array of shape (m, m), array of shape (n,), the interval, and int array of shape (n,) of
        :class:`ubp.prior.Level`.
    """
    with new_figure(3.4 * len(splits)) as figure:
        grid = figure.add_gridspec(len(splits), 2, width_ratios=(1.0, 1.35))
        for row, (split, (matrix, diagonal, low, high, levels)) in enumerate(splits.items()):
            left, right = figure.add_subplot(grid[row, 0]), figure.add_subplot(grid[row, 1])
            name = NAMES.get(split, split)
            # matched pairs stand out against the bulk, whatever single outliers do
            limits = np.percentile(matrix, (1, 99.5))
            shown = left.imshow(matrix, cmap=COLOURS, vmin=limits[0], vmax=limits[1], interpolation="none")
            left.set(xlabel="images", ylabel="brain signals")
            left.set_title(f"{len(matrix)} of {len(diagonal)} {name} pairs", color=INK)
            left.spines[:].set_visible(False)
            left.locator_params(nbins=5)
            colour_bar(figure, shown, left, "similarity", fraction=0.046)
            draw_similarities(right, diagonal, low, high, levels, 1, ("similarity of matched pairs", f"{name} pairs"))
    return figure
