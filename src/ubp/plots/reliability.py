"""Reliability per channel and over time, noise ceilings and variability of subjects."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from ubp.data.sensors import Sensors
from ubp.plots.style import (
    GREY,
    INK,
    LIGHT,
    channel_ticks,
    height_in_points,
    new_figure,
    shorten,
    spread,
    subject_styles,
    write,
)
from ubp.plots.topography import colour_bar, draw_map

BLUE = "#0072B2"
COLOURS = "cividis"
LINE = 13  # points from one name to the next


def reliability_figure(
    reliability: np.ndarray,
    times: np.ndarray,
    names: Sequence[str],
    sensors: Sensors | None = None,
    in_seconds: bool = True,
) -> Figure:
    """Plot reliability over time (median and middle half of the channels), per channel and time, and on the head.

    Parameters
    ----------
    reliability : array of shape (n_channels, n_times)
        NaN is shown as missing.
    times : array of shape (n_times,)
        Equally spaced; seconds, or sample numbers.
    names : sequence of str
        Of the channels.
    sensors : Sensors, optional
        Channels to draw the mean over time of.
    in_seconds : bool
        What `times` are.
    """
    good = reliability[np.isfinite(reliability).all(axis=1)]
    xlabel = "time from image onset (s)" if in_seconds else "sample"
    with new_figure(3.0 + min(6.0, max(1.5, 0.11 * len(names)))) as figure:
        grid = GridSpec(2, 2, figure, height_ratios=(2.0, min(6.0, max(1.5, 0.11 * len(names)))), width_ratios=(3, 1))
        axes = figure.add_subplot(grid[0, 0] if sensors else grid[0, :])
        if len(good):
            low, middle, high = np.percentile(good, (25, 50, 75), axis=0)
            axes.fill_between(times, low, high, color=BLUE, alpha=0.25, linewidth=0, gid="middle half")
            axes.plot(times, middle, color=BLUE, gid="median")
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set(ylabel="reliability", xlim=(times[0], times[-1]), title="Median and middle half of the channels")
        if sensors:
            mean = _mean_over_time(reliability)[sensors.picks]
            head = figure.add_subplot(grid[0, 1])
            top = max(float(np.nanmax(mean, initial=0.0)), 1e-3)
            shown = draw_map(head, mean, sensors, (0, top), cmap=COLOURS)
            head.set_title("Mean over time", loc="center")
            colour_bar(figure, shown, head, fraction=0.06)
        _heat(figure, figure.add_subplot(grid[1, :]), reliability, times, names, xlabel)
    return figure


def _mean_over_time(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values).all(axis=1), values.mean(axis=1), np.nan)


def _heat(figure: Figure, axes: Axes, values: np.ndarray, times: np.ndarray, names: Sequence[str], xlabel: str) -> None:
    colours = matplotlib.colormaps[COLOURS].with_extremes(bad=LIGHT)
    half = (times[1] - times[0]) / 2
    extent = (times[0] - half, times[-1] + half, len(names) - 0.5, -0.5)
    top = max(float(np.nanmax(values, initial=0.0)), 1e-3)
    shown = axes.imshow(
        np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=top, aspect="auto", extent=extent, interpolation="none"
    )
    channel_ticks(axes.yaxis, names)
    axes.set(xlabel=xlabel, title="Every channel")
    for side in axes.spines.values():
        side.set_visible(False)
    colour_bar(figure, shown, axes, "reliability", aspect=40)


def channel_bars_figure(values: np.ndarray, names: Sequence[str], label: str) -> Figure:
    """Plot one bar a channel, from the largest to the smallest, for signals without times.

    Parameters
    ----------
    values : array of shape (n_channels,)
        Channels with NaN come last and have no bar.
    names : sequence of str
    label : str
        Of the vertical axis.
    """
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
    with new_figure(2.8) as figure:
        axes = figure.add_subplot()
        axes.bar(np.arange(len(order)), values[order], color=BLUE, width=0.8)
        axes.set(ylabel=label, xlim=(-0.7, len(order) - 0.3))
        axes.axhline(0, color=GREY, linewidth=0.8)
        if np.isfinite(values).any():
            middle = float(np.nanmedian(values))
            axes.axhline(middle, color=INK, linewidth=1, linestyle="--")
            write(axes, len(order) - 0.3, middle, f"median {middle:.2f}", ha="right", va="bottom")
        channel_ticks(axes.xaxis, [names[i] for i in order], 90)
    return figure


def curves_figure(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str, in_seconds: bool = True) -> Figure:
    """Plot one line a subject over time, named at its end.

    Parameters
    ----------
    curves : mapping of str to (times, values), arrays of shape (n_times,)
        By subject.
    label : str
        Of the vertical axis.
    in_seconds : bool
        Whether times are seconds, or sample numbers.
    """
    styles = subject_styles(list(curves))
    with new_figure(max(2.8, 0.9 + 0.2 * len(curves))) as figure:
        axes = figure.add_subplot()
        for subject, (times, values) in curves.items():
            axes.plot(times, values, label=subject, gid=subject, **styles[subject])
        axes.margins(x=0)
        axes.set_ylabel(label)
        axes.set_xlabel("time from image onset (s)" if in_seconds else "sample")
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        if len(curves) > 1:
            low, high = axes.get_ylim()
            ends = [float(np.nan_to_num(values[-1])) for _, values in curves.values()]
            places = spread(ends, (high - low) * LINE / height_in_points(axes))
            for subject, place in zip(curves, places, strict=True):
                # of the axes' width, so that a name stands beside its line however long time is
                write(
                    axes,
                    1.01,
                    place,
                    shorten(subject, 20),
                    transform=axes.get_yaxis_transform(),
                    va="center",
                    color=styles[subject]["color"],
                    fontsize=9,
                )
    return figure


def subjects_figure(values: Mapping[str, np.ndarray], label: str, limits: tuple[float, float] | None = None) -> Figure:
    """Plot for every subject the mean over channels (dot) and the range of the middle 80 % of the channels (bar).

    Parameters
    ----------
    values : mapping of str to array of shape (n_channels,)
        By subject; NaN are left out.
    label : str
        Of the horizontal axis.
    limits : (float, float), optional
        Of the horizontal axis.
    """
    with new_figure(0.8 + 0.34 * len(values)) as figure:
        axes = figure.add_subplot()
        for row, channels in enumerate(values.values()):
            good = channels[np.isfinite(channels)]
            if not len(good):
                write(axes, 0.5, row, "none", transform=axes.get_yaxis_transform(), va="center", color=GREY)
                continue
            low, high = np.percentile(good, (10, 90))
            axes.plot([low, high], [row, row], color=BLUE, alpha=0.4, linewidth=5, solid_capstyle="butt", gid="range")
            axes.plot(good.mean(), row, "o", color=BLUE, markersize=8, gid="mean")
        axes.set_yticks(range(len(values)), [shorten(name, 20) for name in values], color=INK)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set(ylim=(len(values) - 0.5, -0.5), xlabel=label)
        if limits:
            axes.set_xlim(*limits)
        axes.grid(axis="x", color=LIGHT, zorder=0)
        axes.set_axisbelow(True)
    return figure
