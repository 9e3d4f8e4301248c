"""How honest a model's confidence is: accuracy over stated probability, and how often sets hold the seen image."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ubp.conformal import expected_calibration_error, reliability
from ubp.plots.style import GREY, METHOD_COLOURS, new_figure, write

HEIGHT = 3.9
N_BINS = 10
LARGEST_DOT = 180.0  # points squared


def reliability_diagram(
    confidence: Mapping[str, np.ndarray], hit: np.ndarray, coverage: pd.DataFrame, title: str = ""
) -> Figure:
    """Draw accuracy over stated probability, and found over promised coverage.

    Parameters
    ----------
    confidence : mapping of str to array of shape (n,)
        Name, such as "before", to the probability of each query's best image.
    hit : bool array of shape (n,)
        Whether that image is the one seen.
    coverage : DataFrame
        Columns nominal, covered, low and high (fractions), and mean_size.
    title : str

    Raises
    ------
    ValueError
        When there is no query.
    """
    if not len(hit):
        raise ValueError("There is no query to draw; expected at least one.")
    colours = [METHOD_COLOURS["vanilla"], METHOD_COLOURS["ubp"]]
    with new_figure(HEIGHT) as figure:
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            axes.set_aspect("equal")
        left.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.5, gid="honest")
        for (name, values), colour in zip(confidence.items(), colours, strict=False):
            count, stated, found = reliability(values, hit, N_BINS).T
            kept = count > 0
            error = 100 * expected_calibration_error(values, hit, N_BINS)
            label = f"{name}: expected error {error:.1f} %"
            left.vlines(stated[kept], stated[kept], found[kept], color=colour, linewidth=1.2, alpha=0.6)
            size = LARGEST_DOT * count[kept] / count.max() + 4
            left.scatter(stated[kept], found[kept], size, color=colour, alpha=0.7, gid=name, clip_on=False)
            left.plot([], [], "o", color=colour, label=label)
        left.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the best image", ylabel="share that was seen")
        left.set_title(title or "Reliability; dots grow with the number of queries")
        left.legend(frameon=False, fontsize=8, loc="upper left")
        _coverage(right, coverage)
    return figure


def coverage_figure(coverage: pd.DataFrame) -> Figure:
    """Draw found over promised coverage alone.

    Parameters
    ----------
    coverage : DataFrame
        As of :func:`reliability_diagram`.
    """
    with new_figure(HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.set_aspect("equal")
        _coverage(axes, coverage)
    return figure


def _coverage(axes: Axes, coverage: pd.DataFrame) -> None:
    low = min(0.7, float(coverage["low"].min()) - 0.02, float(coverage["nominal"].min()) - 0.05)
    axes.plot([low, 1], [low, 1], color=GREY, linestyle=":", linewidth=1.5)
    colour = METHOD_COLOURS["ubp"]
    for row in coverage.to_dict("records"):
        x, y = row["nominal"], row["covered"]
        axes.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=2.5, gid="interval")
        axes.plot(x, y, "o", color=colour, markersize=7, gid="coverage")
        size = f"{row['mean_size']:.3g} images"
        write(axes, x - 0.012, y, size, ha="right", va="center", fontsize=8, color=GREY)
    axes.set(xlim=(low, 1), ylim=(low, 1), xlabel="coverage promised", ylabel="sets that hold the seen image")
    axes.set_title("Coverage of the sets, 95 % intervals")
