"""Training by epoch: loss, validation score, and how many pairs are at each blur level."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator

from ubp.plots.style import INK, LEVEL_COLOURS, label_ends, method_styles, new_figure

LEVELS = ("less", "base", "more")
VALIDATION = "validation_mrr"


def training_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot the loss of each method, its validation score if there is one, and its level counts if it has them.

    Parameters
    ----------
    histories : mapping of str to DataFrame
        By method: a row per epoch with columns epoch, loss, and if any less, base, more and validation_mrr.

    Raises
    ------
    ValueError
        When there is no history, or one has no epoch or lacks the columns epoch and loss.
    """
    if not histories:
        raise ValueError("There is no training history to plot; expected at least one method.")
    for method, history in histories.items():
        if not {"epoch", "loss"} <= set(history) or not len(history):
            raise ValueError(f"The history of {method!r} has no epoch or loss; expected a row per epoch.")
    dynamic = {method: history for method, history in histories.items() if set(LEVELS) <= set(history)}
    validated = {method: history for method, history in histories.items() if VALIDATION in history}
    with new_figure(3.0 + 1.9 * len(dynamic)) as figure:
        grid = GridSpec(1 + len(dynamic), 2, figure, height_ratios=[1.6] + [1.0] * len(dynamic), wspace=0.08)
        loss = figure.add_subplot(grid[0, 0] if validated else grid[0, :])
        _curves(loss, histories, "loss")
        loss.set(title="Training loss", ylabel="loss (nats)")
        if validated:
            score = figure.add_subplot(grid[0, 1])
            _curves(score, validated, VALIDATION)
            score.set(title="Validation concepts", ylabel="mean reciprocal rank")
        for row, (method, history) in enumerate(dynamic.items(), start=1):
            _stack(figure.add_subplot(grid[row, 0]), method, history)
            _outside(figure.add_subplot(grid[row, 1]), method, history)
    return figure


def _curves(axes: Axes, histories: Mapping[str, pd.DataFrame], column: str) -> None:
    styles = method_styles(histories)
    for method, history in histories.items():
        marker = "o" if len(history) == 1 else ""
        axes.plot(history["epoch"], history[column], marker=marker, label=method, **styles[method])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    _epochs(axes, min(h["epoch"].min() for h in histories.values()), max(h["epoch"].max() for h in histories.values()))
    ends = [(history[column].iloc[-1] - low) / (high - low) for history in histories.values()]
    label_ends(axes, ends, list(histories), [style["color"] for style in styles.values()])


def _epochs(axes: Axes, first: float, last: float) -> None:
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")


def _stack(axes: Axes, method: str, history: pd.DataFrame) -> None:
    epochs = history["epoch"].to_numpy(float)
    edges = np.append(epochs - 0.5, epochs[-1] + 0.5)
    below = np.zeros(len(history))
    n_pairs = history[list(LEVELS)].sum(axis=1).to_numpy()
    for level in LEVELS:
        above = below + history[level].to_numpy(float)
        axes.stairs(above, edges, baseline=below, fill=True, color=LEVEL_COLOURS[level], label=level)
        below = above
    _epochs(axes, epochs[0], epochs[-1])
    axes.set_ylim(0, max(n_pairs.max(), 1))
    axes.set_title(f"{method}: all pairs by level")
    axes.set_ylabel("training pairs")
    last = history[list(LEVELS)].iloc[-1].to_numpy(float)
    centres = (np.cumsum(last) - last / 2) / max(last.sum(), 1)
    label_ends(axes, list(centres), LEVELS, [INK] * len(LEVELS))


def _outside(axes: Axes, method: str, history: pd.DataFrame) -> None:
    marker = "o" if len(history) == 1 else ""
    for level in ("more", "less"):
        axes.plot(history["epoch"], history[level], color=LEVEL_COLOURS[level], marker=marker, label=level)
    top = max(1.0, 1.1 * history[["more", "less"]].to_numpy().max())
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    _epochs(axes, history["epoch"].min(), history["epoch"].max())
    axes.set_title(f"{method}: pairs outside the interval")
    axes.set_ylabel("training pairs")
    last = {level: int(history[level].iloc[-1]) for level in ("more", "less")}
    label_ends(axes, [n / top for n in last.values()], [f"{level} {n}" for level, n in last.items()], [INK] * 2)
