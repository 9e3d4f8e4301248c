"""How many images a concept has, and how many trials an image."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ubp.plots.style import SPLIT_COLOURS, new_figure

MOST_BARS = 30


def counts_figure(images_per_concept: Mapping[str, np.ndarray], trials_per_image: Mapping[str, np.ndarray]) -> Figure:
    """Plot how often each count occurs, both splits side by side.

    Parameters
    ----------
    images_per_concept, trials_per_image : mapping of split to int array
        One count for each concept; one for each image of each subject.
    """
    with new_figure(2.7) as figure:
        left, right = figure.subplots(1, 2)
        _counts(left, images_per_concept)
        left.set(xlabel="images of a concept", ylabel="concepts")
        _counts(right, trials_per_image)
        right.set(xlabel="trials of an image with a subject", ylabel="images")
        left.legend(frameon=False, fontsize=9)
    return figure


def _counts(axes: Axes, counts: Mapping[str, np.ndarray]) -> None:
    everything = np.concatenate(list(counts.values()))
    low, high = int(everything.min()), int(everything.max())
    width = -(-(high - low + 1) // MOST_BARS)
    edges = np.arange(low, high + width + 1, width) - 0.5
    for place, (split, values) in enumerate(counts.items()):
        heights, _ = np.histogram(values, edges)
        middle = (edges[:-1] + edges[1:]) / 2 + width * 0.4 * (place - (len(counts) - 1) / 2)
        bars = axes.bar(middle, heights, width * 0.38, color=SPLIT_COLOURS[split], label=split)
        if len(heights) <= 6:
            axes.bar_label(bars, [f"{height}" if height else "" for height in heights], fontsize=8, padding=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    if high == low:
        axes.set_xlim(low - 1.5, high + 1.5)
