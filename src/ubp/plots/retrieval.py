"""Accuracy of each method: every subject, their mean with its interval, the published mean, and chance."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ubp.plots.style import GREY, INK, METHOD_COLOURS, method_styles, new_figure, write

NEEDED = ("method", "top1", "top1_low", "top1_high", "top1_chance")


def retrieval_figure(means: pd.DataFrame, subjects: pd.DataFrame | None = None) -> Figure:
    """Plot top-1 accuracy, a row a method and a panel a setting.

    Parameters
    ----------
    means : DataFrame
        One row a setting and method: method, top1, top1_low, top1_high, top1_chance as fractions of 1; perhaps setting
        and published_top1.
    subjects : DataFrame, optional
        One row a setting, method and subject: method, top1, perhaps setting.

    Raises
    ------
    ValueError
        When there is no row or a column is missing.
    """
    missing = [column for column in NEEDED if column not in means]
    if missing or not len(means):
        raise ValueError(f"The means have no {missing[0] if missing else 'row'}; expected {', '.join(NEEDED)}.")
    settings = list(dict.fromkeys(means["setting"])) if "setting" in means else [None]
    methods = list(dict.fromkeys(means["method"].astype(str)))
    styles = method_styles(methods)
    shares = [means["top1_high"], means.get("published_top1"), None if subjects is None else subjects["top1"]]
    top = 100 * max(float(np.nanmax(np.array(each, float), initial=1e-3)) for each in shares if each is not None)
    with new_figure(1.3 + 0.36 * len(methods)) as figure:
        panels = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
        for axes, setting in zip(panels, settings, strict=True):
            chosen = means if setting is None else means[means["setting"] == setting]
            dots = (
                None if subjects is None else subjects if setting is None else subjects[subjects["setting"] == setting]
            )
            for row in chosen.to_dict("records"):
                y, colour = methods.index(str(row["method"])), styles[str(row["method"])]["color"]
                if dots is not None:
                    each = 100 * dots.loc[dots["method"] == row["method"], "top1"].to_numpy(float)
                    axes.plot(
                        each,
                        np.full(len(each), y + 0.27),
                        "o",
                        color=colour,
                        alpha=0.45,
                        markersize=3.5,
                        gid="subjects",
                    )
                low, high = 100 * row["top1_low"], 100 * row["top1_high"]
                axes.plot([low, high], [y, y], color=colour, linewidth=2.5, solid_capstyle="butt", gid="interval")
                axes.plot(100 * row["top1"], y, "o", color=colour, markersize=8, gid="score")
                write(axes, high, y, f"  {100 * row['top1']:.1f}", va="center", fontsize=9)
                if pd.notna(row.get("published_top1")):
                    axes.plot(
                        100 * row["published_top1"],
                        y - 0.34,
                        "D",
                        mfc="white",
                        mec=INK,
                        markersize=4.5,
                        gid="published",
                    )
                chance = 100 * row["top1_chance"]
                axes.plot([chance] * 2, [y - 0.5, y + 0.5], color=GREY, linestyle=":", linewidth=1.5, gid="chance")
            axes.set_yticks(range(len(methods)), methods, color=INK)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.set_ylim(len(methods) - 0.5, -0.5)
            axes.set_xlim(-0.015 * top, 1.13 * top)
            axes.set_xlabel("top-1 accuracy (%)")
            axes.set_title(f"{setting}" if setting else "")
        _legend(figure, means, subjects)
    return figure


def _legend(figure: Figure, means: pd.DataFrame, subjects: pd.DataFrame | None) -> None:
    from matplotlib.lines import Line2D

    colour = METHOD_COLOURS["ridge"]
    handles = [Line2D([], [], color=colour, marker="o", markersize=8, linewidth=2.5, label="mean and 95 % interval")]
    if subjects is not None:
        handles.append(
            Line2D([], [], color=colour, alpha=0.45, marker="o", markersize=3.5, linestyle="", label="a subject")
        )
    if "published_top1" in means and means["published_top1"].notna().any():
        label = "published mean"
        handles.append(Line2D([], [], mec=INK, mfc="white", marker="D", markersize=4.5, linestyle="", label=label))
    handles.append(Line2D([], [], color=GREY, linestyle=":", linewidth=1.5, label="chance"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
