"""Accuracy of each method against the number of test repetitions averaged, with intervals, and chance."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ubp.plots.style import GREY, label_ends, method_styles, new_figure, write

NEEDED = ("method", "repetitions", "score", "low", "high", "chance")


def curve_figure(curve: pd.DataFrame, label: str = "top-1", percent: bool = True) -> Figure:
    """Plot the score of each method over repetitions (logarithmic), its interval as a band, and chance dotted.

    Parameters
    ----------
    curve : DataFrame
        One row a method and number of repetitions: columns method, repetitions, score, low, high, chance; with a column
        `setting`, a panel for each.
    label : str
        Name of the score.
    percent : bool
        Whether the score is a fraction of 1 to be shown in per cent.

    Raises
    ------
    ValueError
        When there is no row or a column is missing.
    """
    missing = [column for column in NEEDED if column not in curve]
    if missing or not len(curve):
        raise ValueError(f"The curve has no {missing[0] if missing else 'row'}; expected {', '.join(NEEDED)}.")
    settings = list(dict.fromkeys(curve["setting"])) if "setting" in curve else [None]
    scale = 100 if percent else 1
    top = scale * float(curve[["high", "score", "chance"]].to_numpy().max())
    with new_figure(3.6) as figure:
        panels = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
        for axes, setting in zip(panels, settings, strict=True):
            part = curve if setting is None else curve[curve["setting"] == setting]
            axes.set_ylim(0, 1.05 * max(top, 1e-3))
            _panel(axes, part, scale)
            if setting is not None:
                axes.set_title(setting)
        panels[0].set_ylabel(f"{label} accuracy (%)" if percent else label)
    return figure


def _panel(axes: Axes, part: pd.DataFrame, scale: float) -> None:
    styles = method_styles(dict.fromkeys(part["method"].astype(str)))
    ends = []
    for method, style in styles.items():
        line = part[part["method"] == method].sort_values("repetitions")
        x = line["repetitions"].to_numpy(float)
        score, low, high = (scale * line[name].to_numpy(float) for name in ("score", "low", "high"))
        axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0, gid="interval")
        axes.plot(x, score, marker="o", markersize=4, label=method, **style)
        ends.append(score[-1] / axes.get_ylim()[1])
    ticks = np.unique(part["repetitions"].to_numpy(float))
    axes.set_xscale("log", base=2)
    axes.set_xlim(ticks[0] / 2**0.25, ticks[-1] * 2**0.25)
    axes.xaxis.set_major_locator(FixedLocator(list(_apart(ticks))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("test repetitions averaged")
    _chance(axes, part, scale)
    label_ends(axes, ends, list(styles), [style["color"] for style in styles.values()])


def _chance(axes: Axes, part: pd.DataFrame, scale: float) -> None:
    by_number = scale * part.groupby("repetitions")["chance"].mean()
    level = float(by_number.mean())
    axes.axhline(level, color=GREY, linestyle=":", linewidth=1.5, gid="chance")
    text = f"chance {level:.3g}" + (" %" if scale == 100 else "")
    write(axes, 0.01, level, text, transform=axes.get_yaxis_transform(), va="bottom", color=GREY, fontsize=9)


def _apart(ticks: np.ndarray) -> np.ndarray:
    """Ticks whose labels do not touch: the last, and from the first on those far enough from the one before."""
    kept: list[float] = []
    for tick in ticks[:-1]:
        if (not kept or tick / kept[-1] >= 2**0.45) and ticks[-1] / tick >= 2**0.45:
            kept.append(tick)
    return np.array([*kept, ticks[-1]])
