"""The similarities of the training pairs, and the interval that decides their blur levels."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from ubp.plots.style import INK, LEVEL_COLOURS, LIGHT, new_figure, write
from ubp.prior import Level

LABELS = ("smoothed similarity of the training pair (scaled by the temperature)", "training pairs")


def similarity_figure(similarity: ArrayLike, low: float, high: float, level: ArrayLike | None = None) -> Figure:
    """Histogram of the smoothed similarities, coloured by level, with the interval shaded.

    Parameters
    ----------
    similarity : array of shape (n_pairs,)
        Smoothed similarity of each training pair.
    low, high : float
        The interval; not shown where it is infinite.
    level : int array of shape (n_pairs,), optional
        Values of :class:`ubp.prior.Level`; by default the side of the interval that each similarity lies on. Levels
        are set batch by batch, so near the ends they can differ from that.

    Raises
    ------
    ValueError
        When there is no pair, a similarity is not finite, or the levels do not fit.
    """
    with new_figure(3.6) as figure:
        draw_similarities(figure.add_subplot(), similarity, low, high, level)
    return figure


def draw_similarities(
    axes: Axes,
    similarity: ArrayLike,
    low: float,
    high: float,
    level: ArrayLike | None = None,
    columns: int = 3,
    labels: tuple[str, str] = LABELS,
) -> None:
    """Draw that histogram; `columns` of its legend, `labels` of its axes."""
    values = np.asarray(similarity, float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"The similarities have shape {values.shape}; expected one finite number per training pair.")
    if level is None:
        levels = Level.BASE + (values < low).astype(int) - (values > high).astype(int)
    else:
        levels = np.asarray(level)
    if levels.shape != values.shape or not set(np.unique(levels)) <= set(Level):
        raise ValueError(f"The levels have shape {levels.shape}; expected one of {[*map(int, Level)]} for each pair.")
    narrow = np.ptp(values) <= 1e-9 * max(1.0, np.abs(values).max())  # numpy refuses bins finer than the numbers
    n_bins = 1 if narrow else min(60, max(12, round(2 * len(values) ** (1 / 3))))
    edges = bin_edges(values, low, high, n_bins)
    bottom, bars = np.zeros(len(edges) - 1), {}
    for each in (Level.BASE, Level.MORE, Level.LESS):
        counts, _ = np.histogram(values[levels == each], edges)
        name, n = each.name.lower(), int(counts.sum())
        bars[each] = axes.bar(
            edges[:-1],
            counts,
            np.diff(edges),
            bottom,
            align="edge",
            color=LEVEL_COLOURS[name],
            linewidth=0,
            label=f"{name} blur: {n} {'pair' if n == 1 else 'pairs'} ({n / len(values):.1%})",
        )
        bottom += counts
    reach = [x for x in (low, high) if math.isfinite(x)]
    margin = 0.05 * max(edges[-1] - edges[0], 1e-12)
    axes.set_xlim(min([edges[0], *reach]) - margin, max([edges[-1], *reach]) + margin)
    if len(reach) == 2:
        axes.axvspan(low, high, color=LIGHT, alpha=0.6, zorder=0, gid="interval", linewidth=0)
    for x in reach:
        axes.axvline(x, color=INK, linestyle="--", linewidth=1)
        write(axes, x, 1.02, f"{x:.3g}", transform=axes.get_xaxis_transform(), ha="center", fontsize=9)
    # In the order of the axis: bad fits, which get more blur, are on the left.
    order = [bars[each] for each in (Level.MORE, Level.BASE, Level.LESS)]
    axes.legend(handles=order, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1.08), frameon=False, borderpad=0)
    axes.set_ylim(0, 1.08 * bottom.max())
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=labels[0], ylabel=labels[1])


def bin_edges(values: np.ndarray, low: float, high: float, n_bins: int) -> np.ndarray:
    """Edges of about so many equal bins that hold all values; both ends of a finite interval are among them.

    Examples
    --------
    >>> bin_edges(np.array([0.0, 9.5]), 2.0, 8.0, 5)
    array([ 0.,  2.,  4.,  6.,  8., 10.])
    """
    first, last = float(values.min()), float(values.max())
    inside = round(n_bins * (high - low) / (last - first)) if last > first and math.isfinite(high - low) else 0
    if n_bins < 2 or not 1 <= inside <= 4 * n_bins:
        return np.histogram_bin_edges(values, n_bins)
    width = (high - low) / inside
    before, after = math.ceil((low - first) / width - 1e-9), math.ceil((last - high) / width - 1e-9)
    steps = np.arange(-before, inside + after + 1)
    edges = low + width * steps
    edges[steps == inside] = high
    edges[0], edges[-1] = min(edges[0], first), max(edges[-1], last)  # rounding loses no value
    return edges
