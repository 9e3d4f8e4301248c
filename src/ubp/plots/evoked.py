"""Mean response to all images: every channel over time, with maps at the peaks; or one bar a channel without times."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from ubp.data.sensors import KINDS, Sensors
from ubp.plots.style import GREY, INK, channel_ticks, new_figure
from ubp.plots.topography import colour_bar, draw_map

N_PEAKS = 5


def peak_times(response: np.ndarray, n_peaks: int = N_PEAKS) -> np.ndarray:
    """Increasing indices of the most prominent peaks of the field power, the standard deviation over channels.

    Parameters
    ----------
    response : array of shape (n_channels, n_times)
    n_peaks : int
        There may be fewer; where there is no peak inside, the largest value is taken.
    """
    from scipy.signal import find_peaks

    power = response.std(axis=0) if len(response) > 1 else np.abs(response[0])
    peaks, about = find_peaks(power, prominence=0)
    if not len(peaks):
        return np.array([int(power.argmax())])
    return np.sort(peaks[np.argsort(-about["prominences"], kind="stable")[:n_peaks]])


def evoked_figure(
    response: np.ndarray,
    times: np.ndarray,
    types: np.ndarray,
    sensors: Sensors | None = None,
    in_seconds: bool = True,
) -> Figure:
    """Plot the mean response of every channel by mne, with its field power, and maps at its peaks.

    Parameters
    ----------
    response : array of shape (n_channels, n_times)
        In the unit of the study, which no file names; so the axis says "signal".
    times : array of shape (n_times,)
        Equally spaced; seconds, or sample numbers.
    types : array of str, of shape (n_channels,)
        Channels of one type share axes.
    sensors : Sensors, optional
        Channels to draw maps of.
    in_seconds : bool
        What `times` are.
    """
    kinds = list(dict.fromkeys(types.tolist()))
    peaks = peak_times(response[sensors.picks]) if sensors else np.array([], int)
    with new_figure((1.7 if sensors else 0.3) + 2.5 * len(kinds)) as figure:
        top = [1.0] if sensors else []
        grid = GridSpec(len(top) + len(kinds), 1, figure, height_ratios=top + [1.6] * len(kinds))
        if sensors:
            _maps(figure, grid[0], response[sensors.picks][:, peaks], times[peaks], sensors, in_seconds)
        for row, kind in enumerate(kinds, start=len(top)):
            axes = figure.add_subplot(grid[row])
            picks = np.flatnonzero(types == kind)
            placed = sensors is not None and np.array_equal(picks, sensors.picks)
            _butterfly(axes, response[picks], times, kind, sensors if placed else None)
            for time in times[peaks]:
                axes.axvline(time, color=GREY, linestyle=":", linewidth=1, zorder=0)
            axes.set_xlabel("time from image onset (s)" if in_seconds else "sample")
            axes.set_title(f"{len(picks)} channels ({kind})" if len(picks) > 1 else f"1 channel ({kind})")
    return figure


def _maps(
    figure: Figure, place: object, values: np.ndarray, times: np.ndarray, sensors: Sensors, in_seconds: bool
) -> None:
    grid = place.subgridspec(1, N_PEAKS)  # type: ignore[attr-defined]
    limit = max(float(np.abs(values).max()), np.finfo(float).tiny)
    line = []
    for column in range(N_PEAKS):
        axes = figure.add_subplot(grid[column])
        line.append(axes)
        if column >= len(times):
            axes.set_axis_off()
            continue
        shown = draw_map(axes, values[:, column], sensors, (-limit, limit))
        name = f"{1000 * times[column]:.0f} ms" if in_seconds else f"sample {times[column]:g}"
        axes.set_title(name, loc="center")
    colour_bar(figure, shown, line, "signal")


def _butterfly(axes: Axes, response: np.ndarray, times: np.ndarray, kind: str, sensors: Sensors | None) -> None:
    import mne

    drawn = kind if kind in KINDS else "eeg"  # mne draws data of kinds that it knows
    if sensors:
        info = sensors.info.copy()
    else:
        info = mne.create_info([f"{i}" for i in range(len(response))], 1.0, drawn, verbose="error")
    sfreq = 1 / (times[1] - times[0]) if len(times) > 1 else 1.0
    with info._unlock():
        info["sfreq"] = float(sfreq)
        info["lowpass"] = float(sfreq) / 2
    evoked = mne.EvokedArray(response, info, tmin=float(times[0]), verbose="error")
    evoked.nave = None  # else mne writes it in mathematical type, which names with a dollar sign forbid
    evoked.plot(
        axes=axes,
        show=False,
        spatial_colors=bool(sensors),
        gfp=len(response) > 1,
        scalings={drawn: 1.0},
        units={drawn: "signal"},
        titles={drawn: ""},
        selectable=False,
        time_unit="s",
        verbose="error",
    )
    axes.set_ylabel("signal")


def responses_figure(mean: np.ndarray, spread: np.ndarray, names: list[str]) -> Figure:
    """Plot the mean of every channel and the standard deviation of its image means, for signals without times.

    Parameters
    ----------
    mean, spread : arrays of shape (n_channels,)
    names : list of str
    """
    with new_figure(2.8) as figure:
        axes = figure.add_subplot()
        place = np.arange(len(mean))
        axes.bar(place, mean, color="#BFBFBF", width=0.8)
        axes.errorbar(place, mean, np.nan_to_num(spread), fmt="none", ecolor=INK, elinewidth=1)
        axes.set(ylabel="signal", xlim=(-0.7, len(mean) - 0.3))
        channel_ticks(axes.xaxis, names, 90)
        axes.axhline(0, color=GREY, linewidth=0.8)
    return figure
