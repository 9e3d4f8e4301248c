"""Accuracy of each method with its interval, and chance."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ubp.plots.style import GREY, INK, method_styles, new_figure, write


def accuracy_figure(summary: pd.DataFrame) -> Figure:
    """Plot the top-1 accuracy of each method as a dot with its interval, and the chance level as a line.

    Parameters
    ----------
    summary : DataFrame
        One row a method, columns method, top1, top1_low, top1_high, top1_chance as fractions of 1; a column `setting`
        is added to the name where it differs between rows.

    Raises
    ------
    ValueError
        When there is no row or a column is missing.
    """
    needed = ("method", "top1", "top1_low", "top1_high", "top1_chance")
    missing = [column for column in needed if column not in summary]
    if missing or not len(summary):
        raise ValueError(f"The summary has no {missing[0] if missing else 'row'}; expected {', '.join(needed)}.")
    names = summary["method"].astype(str)
    styles = method_styles(names)
    labels = names
    if "setting" in summary and summary["setting"].nunique() > 1:
        labels = names + "\n" + summary["setting"].astype(str)
    score, low, high, chance = (100 * summary[column].to_numpy(float) for column in needed[1:])
    y = np.arange(len(summary))
    with new_figure(0.9 + 0.42 * len(summary)) as figure:
        axes = figure.add_subplot()
        for i, name in enumerate(names):
            colour = styles[name]["color"]
            axes.plot([low[i], high[i]], [i, i], color=colour, linewidth=2.5, solid_capstyle="butt", gid="interval")
            axes.plot(score[i], i, "o", color=colour, markersize=8, gid="score")
            write(axes, max(high[i], score[i]), i, f"  {score[i]:.1f}", va="center", fontsize=10)
            axes.plot([chance[i]] * 2, [i - 0.5, i + 0.5], color=GREY, linestyle=":", linewidth=1.5, gid="chance")
        axes.set_yticks(y, labels, color=INK)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(len(summary) - 0.5, -0.5)
        axes.set_xlim(0, 1.1 * max(high.max(), score.max(), chance.max(), 1e-3))
        text = f"chance {chance[0]:.3g} %" if np.ptp(chance) == 0 else "chance"
        write(axes, chance[0], 1.01, text, transform=axes.get_xaxis_transform(), ha="left", va="bottom", color=GREY)
        axes.set_xlabel("top-1 accuracy (%)")
    return figure
