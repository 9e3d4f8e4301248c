"""What parts of the signals are worth: accuracy over windows of time, and channels on the head."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ubp.data.sensors import Sensors
from ubp.plots.style import GREY, INK, MOST_NAMES, channel_ticks, new_figure, shorten, write
from ubp.plots.topography import colour_bar, draw_map

BLUE = "#0072B2"
MOST_DOTS = 16


def windows_figure(table: pd.DataFrame, label: str, percent: bool = True, note: str = "") -> Figure:
    """Plot the score of successive windows of time at their middle, its interval, chance, and the image's onset.

    Parameters
    ----------
    table : DataFrame
        One row a window: start, stop (s), score, low, high, and reference, which is chance, or 0 of a loss.
    label : str
        Of the score.
    percent : bool
        Whether scores are fractions of 1 to be shown in per cent.
    note : str
        What the queries are, below the axis.

    Raises
    ------
    ValueError
        When there is no row or a column is missing.
    """
    _check(table, ("start", "stop", "score", "low", "high", "reference"))
    scale = 100 if percent else 1
    start, stop = (1000 * table[name].to_numpy(float) for name in ("start", "stop"))
    middle = (start + stop) / 2
    with new_figure(3.4) as figure:
        axes = figure.add_subplot()
        score, low, high = (scale * table[name].to_numpy(float) for name in ("score", "low", "high"))
        axes.fill_between(middle, low, high, color=BLUE, alpha=0.15, linewidth=0, gid="interval")
        axes.plot(middle, score, color=BLUE, marker="o", markersize=4, gid="score")
        reference = scale * float(table["reference"].iloc[0])
        _reference(axes, reference, percent)
        left = min(start[0], 0.0) if start[0] <= 200 else start[0]
        axes.set_xlim(left - 0.01 * (stop[-1] - left), stop[-1])
        if left <= 0 <= stop[-1]:
            axes.axvline(0, color=INK, linewidth=1, gid="onset")
            write(axes, 0, 0.99, " image onset", transform=axes.get_xaxis_transform(), va="top", fontsize=9)
        axes.set_ylim(*_limits(low, high, reference, percent))
        axes.set_title(f"{label[0].upper()}{label[1:]}")
        axes.set_ylabel(_unit(reference, percent))
        axes.set_xlabel("time after image onset, middle of the window (ms)" + (f"\n{note}" if note else ""))
    return figure


def channels_figure(
    table: pd.DataFrame,
    members: Mapping[str, Sequence[str]],
    channels: Sequence[str],
    sensors: Sensors | None,
    label: str,
    percent: bool = True,
    note: str = "",
) -> Figure:
    """Draw what each channel or region is worth on the head, and the best as dots with intervals.

    Parameters
    ----------
    table : DataFrame
        One row a channel or region: part, score, low, high, reference.
    members : mapping of str to sequence of str
        Channels of each part.
    channels : sequence of str
        All channels, in the order of the recording.
    sensors : Sensors, optional
        Where they are, `picks` among `channels`; without, a bar for each part takes the place of map and dots.
    label, percent, note :
        As in :func:`windows_figure`.

    Raises
    ------
    ValueError
        When there is no row or a column is missing.
    """
    _check(table, ("part", "score", "low", "high", "reference"))
    scale = 100 if percent else 1
    title = f"{label[0].upper()}{label[1:]}"
    reference = scale * float(table["reference"].iloc[0])
    unit = _unit(reference, percent)
    if sensors is None:
        with new_figure(3.2) as figure:
            _bars(figure.add_subplot(title=title), table, scale, unit, reference, note)
        return figure
    values = pd.Series(np.nan, index=list(channels))
    for part, score in zip(table["part"], table["score"], strict=True):
        values[list(members[part])] = scale * score
    shown = values.to_numpy(float)[sensors.picks]
    reach = max(float(np.nanmax(np.abs(shown - reference))), 1e-9)
    best = table.sort_values("score", ascending=False, kind="stable").head(MOST_DOTS)[::-1]
    with new_figure(1.6 + 0.19 * max(len(best), 12)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
        image = draw_map(left, shown, sensors, (reference - reach, reference + reach))
        colour_bar(figure, image, left, unit, pad=0.04)
        _dots(right, best, scale, unit, reference)
        if len(best) < len(table):
            right.set_title(f"the best {len(best)} of {len(table)}")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        figure.supxlabel(note, fontsize=9)
    return figure


def _dots(axes: Axes, best: pd.DataFrame, scale: float, label: str, reference: float) -> None:
    for place, row in enumerate(best.itertuples()):
        low, high, score = (scale * float(getattr(row, name)) for name in ("low", "high", "score"))
        axes.plot([low, high], [place, place], color=BLUE, linewidth=2, solid_capstyle="butt", gid="interval")
        axes.plot(score, place, "o", color=BLUE, markersize=6, gid="score")
    axes.axvline(reference, color=GREY, linestyle=":", linewidth=1.5, gid="reference")
    axes.set_yticks(range(len(best)), [shorten(name, 14) for name in best["part"]])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(best) - 0.4)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(label)


def _bars(axes: Axes, table: pd.DataFrame, scale: float, label: str, reference: float, note: str) -> None:
    best = table.sort_values("score", ascending=False, kind="stable")
    score, low, high = (scale * best[name].to_numpy(float) for name in ("score", "low", "high"))
    place = np.arange(len(best))
    axes.bar(place, score, color=BLUE, width=0.8, gid="score")
    if len(best) <= MOST_NAMES:
        axes.vlines(place, low, high, color=INK, linewidth=1, gid="interval")
    axes.axhline(reference, color=GREY, linestyle=":", linewidth=1.5, gid="reference")
    axes.set(ylabel=label, xlim=(-0.7, len(best) - 0.3))
    channel_ticks(axes.xaxis, list(best["part"]), 90)
    axes.set_xlabel(note)


def _reference(axes: Axes, level: float, percent: bool) -> None:
    axes.axhline(level, color=GREY, linestyle=":", linewidth=1.5, gid="reference")
    if level:
        text = f"chance\n{level:.3g}" + (" %" if percent else "")
        write(axes, 1.01, level, text, transform=axes.get_yaxis_transform(), va="center", color=GREY, fontsize=9)


def _unit(reference: float, percent: bool) -> str:
    """Scores are per cent, and losses, whose reference is 0, are points of per cent."""
    return ("%" if reference else "points") if percent else ""


def _limits(low: np.ndarray, high: np.ndarray, reference: float, percent: bool) -> tuple[float, float]:
    """Ends of the vertical axis: zero belongs to it where scores are shares."""
    bottom, top = min(reference, float(low.min())), max(reference, float(high.max()))
    bottom = min(bottom, 0.0) if percent else bottom
    room = 0.05 * max(top - bottom, 1e-3)
    return (bottom if bottom == 0 else bottom - room), top + room


def _check(table: pd.DataFrame, needed: tuple[str, ...]) -> None:
    missing = [column for column in needed if column not in table]
    if missing or not len(table):
        raise ValueError(f"The ablation has no {missing[0] if missing else 'row'}; expected {', '.join(needed)}.")
