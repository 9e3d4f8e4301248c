"""How the worth of the parts is shown: tables, and a figure of the paired differences."""

import re

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from beyond_parts import PARTS, PLUS, UBP
from ubp.plots.style import GREY, INK, new_figure
from ubp.sheets import Sheet

HEADER = (
    "configuration",
    "what",
    "top-1 %",
    "95 % interval",
    "top-5 %",
    "paired difference, points",
    "95 % interval",
    "CPU seconds a model",
    "MiB",
)
HELPS, HURTS = "#009E73", "#D55E00"


def sheet(title: str, table: pd.DataFrame, said: str) -> Sheet:
    """A table of a setting."""
    cells = []
    for row in table.to_dict("records"):
        differs = row["against"] is not None and not pd.isna(row["difference"])
        name = row["configuration"]
        what = PARTS[name.removeprefix("ubp + ")].what if name.startswith("ubp + ") else ""
        cells.append(
            (
                name,
                what,
                f"{100 * row['top1']:.1f}",
                f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
                f"{100 * row['top5']:.1f}",
                f"{100 * row['difference']:+.1f} against {row['against']}" if differs else "",
                f"{100 * row['difference_low']:+.1f} to {100 * row['difference_high']:+.1f}" if differs else "",
                "" if pd.isna(row["seconds"]) else f"{row['seconds']:.1f}",
                "" if pd.isna(row["memory"]) else f"{row['memory']:.0f}",
            )
        )
    return Sheet(title, HEADER, tuple(cells), notes=(f"{said} Chance is {100 * table['chance'].mean():.2f} %.",))


def inserted(page: str, name: str, text: str) -> str:
    """A page with `text` between its lines for the study `name`.

    Raises
    ------
    ValueError
        When the page has no such lines.
    """
    found = re.search(rf"(?ms)^<!-- beyond: {re.escape(name)} -->$.*?^<!-- end -->$", page)
    if not found:
        raise ValueError(f"The page has no lines '<!-- beyond: {name} -->' and '<!-- end -->'; add them.")
    block = f"<!-- beyond: {name} -->\n\n{text}\n\n<!-- end -->"
    return page[: found.start()] + block + page[found.end() :]


def differences_figure(table: pd.DataFrame) -> Figure:
    """Paired differences with intervals, a column for each setting: from `ubp` above, from `ubp-plus` below."""
    table = table.dropna(subset=["difference"])
    settings = list(dict.fromkeys(table["setting"]))
    groups = [(UBP, "added to ubp"), (PLUS, "removed from ubp-plus")]
    heights = [table[table["against"] == against]["configuration"].nunique() for against, _ in groups]
    with new_figure(1.6 + 0.22 * sum(heights)) as figure:
        axes = figure.subplots(
            len(groups), len(settings), squeeze=False, sharex="col", height_ratios=[max(1, one) for one in heights]
        )
        for row, (against, title) in zip(axes, groups, strict=True):
            names = list(dict.fromkeys(table[table["against"] == against]["configuration"]))
            for place, (panel, setting) in enumerate(zip(row, settings, strict=True)):
                chosen = table[(table["against"] == against) & (table["setting"] == setting)]
                _differences(panel, chosen.set_index("configuration"), names)
                panel.set_title(f"{setting}: {title}" if len(settings) > 1 else title)
                panel.tick_params(axis="y", labelleft=place == 0, length=0)
        for panel in axes[-1]:
            panel.set_xlabel("difference in top-1, points")
    return figure


def _differences(axes: Axes, table: pd.DataFrame, names: list[str]) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8)
    for place, name in enumerate(names):
        if name not in table.index:
            continue
        value, low, high = 100 * table.loc[name, ["difference", "difference_low", "difference_high"]].astype(float)
        colour = HELPS if low > 0 else HURTS if high < 0 else INK
        axes.plot([low, high], [place, place], color=colour, linewidth=1.8)
        axes.plot(value, place, "o", color=colour, markersize=4.5)
    axes.set_yticks(range(len(names)), [name.split(" + ")[-1].split(" - ")[-1] for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
