"""Maps of values on the head."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from ubp.data.sensors import Sensors
from ubp.plots.style import new_figure, write

N_WINDOWS = 8


def draw_map(axes: Axes, values: np.ndarray, sensors: Sensors, limits: tuple[float, float], **options: Any) -> Any:
    """Draw values of the sensors on a head by mne; returns what a colour bar needs.

    Channels without a value are left out; with fewer than three the head stays empty.
    """
    import mne

    good = np.flatnonzero(np.isfinite(values))
    if len(good) < 3:
        axes.set_axis_off()
        return ScalarMappable(cmap=options.get("cmap"))
    info = mne.pick_info(sensors.info, good)
    options = {"cmap": "RdBu_r", "contours": 4, **options}
    return mne.viz.plot_topomap(values[good], info, axes=axes, show=False, vlim=limits, **options)[0]


def time_windows(times: np.ndarray, n_windows: int = N_WINDOWS) -> list[np.ndarray]:
    """Indices of successive windows of nearly equal length that cover all times; fewer when there are fewer times."""
    return np.array_split(np.arange(len(times)), min(n_windows, len(times)))


def topographies_figure(
    responses: Mapping[str, np.ndarray], sensors: Mapping[str, Sensors], times: np.ndarray, in_seconds: bool = True
) -> Figure:
    """Maps of the mean response in successive windows of time, one row a subject with its own scale.

    Parameters
    ----------
    responses : mapping of str to array of shape (n_channels, n_times)
        By subject.
    sensors : mapping of str to Sensors
        By subject; subjects without sensors are left out.
    times : array of shape (n_times,)
        Seconds, or sample numbers.
    in_seconds : bool
        What `times` are.
    """
    windows = time_windows(times)
    subjects = [subject for subject in responses if subject in sensors]
    with new_figure(0.45 + 1.25 * len(subjects)) as figure:
        grid = GridSpec(len(subjects), len(windows), figure)
        for row, subject in enumerate(subjects):
            where = sensors[subject]
            maps = [responses[subject][where.picks][:, window].mean(axis=1) for window in windows]
            limit = max(float(np.abs(maps).max()), np.finfo(float).tiny)
            line = []
            for column, (window, values) in enumerate(zip(windows, maps, strict=True)):
                axes = figure.add_subplot(grid[row, column])
                shown = draw_map(axes, values, where, (-limit, limit))
                line.append(axes)
                if row == 0:
                    axes.set_title(window_name(times[window], in_seconds), fontsize=8, loc="center")
                if column == 0 and len(subjects) > 1:
                    write(axes, -0.08, 0.5, subject, transform=axes.transAxes, rotation=90, ha="right", va="center")
            colour_bar(figure, shown, line)
    return figure


def window_name(times: Sequence[float] | np.ndarray, in_seconds: bool) -> str:
    """First to last time in milliseconds, or sample numbers."""
    first, last = (f"{1000 * time:.0f}" if in_seconds else f"{time:g}" for time in (times[0], times[-1]))
    span = first if first == last else f"{first} to {last}"
    return f"{span} ms" if in_seconds else f"sample {span}"


def colour_bar(figure: Figure, shown: Any, axes: Axes | list[Axes], label: str = "", **options: Any) -> None:
    """Add a slim colour bar beside axes."""
    bar = figure.colorbar(shown, ax=axes, **{"fraction": 0.03, "pad": 0.01, "aspect": 18, **options})
    bar.ax.tick_params(labelsize=8)
    bar.ax.locator_params(nbins=4)
    bar.outline.set_visible(False)
    if label:
        bar.set_label(label, fontsize=9)
