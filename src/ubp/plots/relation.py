"""Accuracy against a property of the subjects, a panel a method."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ubp.plots.style import GREY, INK, method_styles, new_figure, write

PER_ROW = 4


def relation_figure(points: pd.DataFrame, correlations: pd.DataFrame) -> Figure:
    """Plot top-1 accuracy over variability, with the least-squares line and r.

    Parameters
    ----------
    points : DataFrame
        One row a method and subject: method, subject, variability, top1 (fraction of 1).
    correlations : DataFrame
        One row a method: method, pearson_top1, and its interval pearson_top1_low, pearson_top1_high.
    """
    methods = list(dict.fromkeys(points["method"].astype(str)))
    styles = method_styles(methods)
    n_columns = min(PER_ROW, len(methods))
    n_rows = -(-len(methods) // n_columns)
    by_method = correlations.set_index("method")
    with new_figure(0.4 + 2.4 * n_rows) as figure:
        panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, method in zip(panels, methods, strict=False):
            part = points[points["method"] == method]
            x, y = part["variability"].to_numpy(float), 100 * part["top1"].to_numpy(float)
            if np.ptp(x) > 0:
                slope, intercept = np.polyfit(x, y, 1)
                ends = np.array([x.min(), x.max()])
                axes.plot(ends, slope * ends + intercept, color=GREY, linewidth=1.2, gid="line")
            axes.plot(x, y, "o", color=styles[method]["color"], markersize=6, gid="subjects")
            for subject, *place in zip(part["subject"], x, y, strict=True):
                number = str(subject).removeprefix("sub-").lstrip("0") or str(subject)
                axes.annotate(number, place, (4, 3), textcoords="offset points", fontsize=8, color=INK)
            axes.set_title(method, color=INK)
            r, low, high = (
                by_method[name][method] for name in ("pearson_top1", "pearson_top1_low", "pearson_top1_high")
            )
            text = f"r = {r:.2f}\n{low:.2f} to {high:.2f}" if np.isfinite(r) else "no correlation"
            write(axes, 0.97, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=9)
            axes.set_ylim(0, 1.25 * max(100 * points["top1"].max(), 1e-3))
            axes.margins(x=0.12)
        for axes in panels[len(methods) :]:
            axes.set_axis_off()
        for axes in panels[: len(methods)][-n_columns:]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel("variability of the signals (0: trials of an image alike)", fontsize=10)
        figure.supylabel("top-1 accuracy (%)", fontsize=10)
    return figure
