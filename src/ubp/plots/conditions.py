"""Accuracy of each method in several conditions side by side."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ubp.plots.style import GREY, method_styles, new_figure, write

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def conditions_figure(table: pd.DataFrame) -> Figure:
    """Plot top-1 accuracy and interval of every method, methods beside each other in each condition.

    Parameters
    ----------
    table : DataFrame
        One row a condition and method: condition, method, top1, top1_low, top1_high, top1_chance as fractions of 1.
    """
    conditions, methods = (list(dict.fromkeys(table[name].astype(str))) for name in ("condition", "method"))
    styles = method_styles(methods)
    offsets = np.linspace(-0.32, 0.32, len(methods)) if len(methods) > 1 else np.zeros(1)
    with new_figure(3.9) as figure:
        axes = figure.add_subplot()
        for number, method in enumerate(methods):
            part = table[table["method"] == method].set_index("condition")
            x = np.array([conditions.index(name) for name in part.index]) + offsets[number]
            score, low, high = (100 * part[name].to_numpy(float) for name in ("top1", "top1_low", "top1_high"))
            colour = styles[method]["color"]
            axes.vlines(x, low, high, color=colour, linewidth=2.5, gid="interval")
            axes.plot(x, score, MARKERS[number % len(MARKERS)], color=colour, markersize=7, label=method, gid=method)
            for place, value, end in zip(x, score, high, strict=True):
                write(axes, place, end, f"{value:.0f}", ha="center", va="bottom", fontsize=8)
        chance = 100 * float(table["top1_chance"].mean())
        axes.axhline(chance, color=GREY, linestyle=":", linewidth=1.5, gid="chance")
        axes.set_xlim(-0.6, len(conditions) - 0.4)
        write(axes, -0.58, chance, f"chance {chance:.3g} %", va="bottom", color=GREY, fontsize=9)
        for edge in range(1, len(conditions)):
            axes.axvline(edge - 0.5, color="#E4E4E4", linewidth=1, zorder=0)
        axes.set_xticks(range(len(conditions)), conditions)
        axes.tick_params(axis="x", length=0)
        axes.set_ylim(0, 1.1 * max(100 * float(table["top1_high"].max()), 1e-3))
        axes.set_ylabel("top-1 accuracy (%)")
        figure.legend(loc="outside upper center", ncols=len(methods), frameon=False, fontsize=9)
    return figure
