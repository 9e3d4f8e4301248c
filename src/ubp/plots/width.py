"""Accuracy of each method over the width of the blur's kernel."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ubp.plots.style import GREY, INK, label_ends, method_styles, new_figure, write


def width_figure(table: pd.DataFrame, marked: Mapping[int, str] | None = None) -> Figure:
    """Plot top-1 accuracy over kernel width with its interval as a band, chance dotted, a panel a setting.

    Parameters
    ----------
    table : DataFrame
        One row a setting, method and width: setting, method, width (pixels), top1, top1_low, top1_high, top1_chance as
        fractions of 1, and perhaps published_top1.
    marked : mapping of int to str, optional
        Widths to mark, with what to write there.
    """
    settings = list(dict.fromkeys(table["setting"]))
    top = 100 * max(float(table["top1_high"].max()), float(table.get("published_top1", table["top1"]).max()), 1e-3)
    with new_figure(3.7) as figure:
        panels = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
        for axes, setting in zip(panels, settings, strict=True):
            axes.set_ylim(0, 1.18 * top)
            _panel(axes, table[table["setting"] == setting], marked or {})
            axes.set_title(setting)
        panels[0].set_ylabel("top-1 accuracy (%)")
    return figure


def _panel(axes: Axes, part: pd.DataFrame, marked: Mapping[int, str]) -> None:
    styles = method_styles(dict.fromkeys(part["method"].astype(str)))
    ends = []
    for method, style in styles.items():
        line = part[part["method"] == method].sort_values("width")
        x = line["width"].to_numpy(float)
        score, low, high = (100 * line[name].to_numpy(float) for name in ("top1", "top1_low", "top1_high"))
        axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0, gid="interval")
        axes.plot(x, score, marker="o", markersize=5, label=method, **style)
        ends.append(score[-1] / axes.get_ylim()[1])
        _published(axes, line)
    for width, text in marked.items():
        axes.axvline(width, color=INK, linestyle="--", linewidth=1, zorder=0)
        write(axes, width, 0.99, f" {text}", transform=axes.get_xaxis_transform(), va="top", fontsize=9)
    chance = 100 * float(part["top1_chance"].mean())
    axes.axhline(chance, color=GREY, linestyle=":", linewidth=1.5, gid="chance")
    write(
        axes,
        0.01,
        chance,
        f"chance {chance:.3g} %",
        transform=axes.get_yaxis_transform(),
        va="bottom",
        color=GREY,
        fontsize=9,
    )
    axes.set_xticks(sorted(set(part["width"])))
    axes.set_xlabel("width of the blur's kernel (pixels; 1: crisp)")
    label_ends(axes, ends, list(styles), [style["color"] for style in styles.values()])


def _published(axes: Axes, line: pd.DataFrame) -> None:
    known = line[line["published_top1"].notna()] if "published_top1" in line else line[:0]
    for x, y in zip(known["width"], 100 * known.get("published_top1", known["top1"]), strict=True):
        axes.plot(x, y, "D", mfc="white", mec=INK, markersize=5, gid="published")
        axes.annotate("published", (x, y), (7, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
