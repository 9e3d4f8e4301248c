"""How the worth of the parts is shown: tables, and a figure of the paired differences."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from beyond_parts import PARTS, PLUS, UBP, Configuration, Part, trained_as
from ubp.errors import InputError
from ubp.evaluate import UNLABELLED_TRIALS
from ubp.files import write_text
from ubp.plots.style import GREY, INK, new_figure
from ubp.results import Results
from ubp.sheets import Sheet

ALIGNED = "†"
"""Mark of a configuration whose signals are aligned by unlabelled trials."""
HEADER = (
    "configuration",
    "subjects",
    "seeds",
    "top-1 %",
    "95 % interval",
    "top-5 %",
    "paired difference, points",
    "95 % interval",
    "CPU seconds a model",
    "MiB",
)
Costs = dict[tuple[str, str], tuple[float, float]]
HELPS, HURTS = "#009E73", "#D55E00"


def read_costs(path: Path) -> Costs:
    """Seconds a model and MiB by setting and configuration, as measured before."""
    if not path.exists():
        return {}
    return {(row.setting, row.configuration): (row.seconds, row.memory) for row in pd.read_csv(path).itertuples()}


def write_costs(path: Path, costs: Costs) -> None:
    """What :func:`read_costs` reads."""
    rows = [(*key, *value) for key, value in costs.items()]
    table = pd.DataFrame(rows, columns=["setting", "configuration", "seconds", "memory"])
    write_text(path, table.to_csv(index=False))


def report(results: Results, costs: Costs, setting: str, chosen: Sequence[Configuration]) -> pd.DataFrame:
    """A row a configuration: accuracy, paired difference and costs."""
    rows, trained = [], trained_as(chosen)
    for one in chosen:
        name = trained[one.name]
        low, high = results.interval(setting, name)
        compared = results.comparison(setting, name, trained[one.against]) if one.against in trained else None
        part = results.table.query("setting == @setting and method == @name")
        seconds, memory = costs.get((setting, name), (math.nan, math.nan))
        rows.append(
            {
                "setting": setting,
                "configuration": one.name,
                "subjects": part["subject"].nunique(),
                "seeds": part["seed"].nunique(),
                "protocol": part["protocol"].iloc[0],
                "gallery_level": part["gallery_level"].iloc[0],
                "gallery_size": part["gallery_size"].iloc[0],
                "top1": part.groupby("subject")["top1"].mean().mean(),
                "low": low,
                "high": high,
                "top5": part.groupby("subject")["top5"].mean().mean(),
                "chance": part["top1_chance"].mean(),
                "against": one.against,
                "difference": compared["difference"] if compared else None,
                "difference_low": compared["low"] if compared else None,
                "difference_high": compared["high"] if compared else None,
                "seconds": seconds,
                "memory": memory,
            }
        )
    return pd.DataFrame(rows)


def sheet(title: str, table: pd.DataFrame, said: str) -> Sheet:
    """A table of a setting."""
    cells = []
    for row in table.to_dict("records"):
        differs = row["against"] is not None and not pd.isna(row["difference"])
        cells.append(
            (
                row["configuration"] + (f" {ALIGNED}" if row["protocol"].endswith(UNLABELLED_TRIALS) else ""),
                str(row["subjects"]),
                str(row["seeds"]),
                f"{100 * row['top1']:.1f}",
                f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
                f"{100 * row['top5']:.1f}",
                f"{100 * row['difference']:+.1f} against {row['against']}" if differs else "",
                f"{100 * row['difference_low']:+.1f} to {100 * row['difference_high']:+.1f}" if differs else "",
                "" if pd.isna(row["seconds"]) else f"{row['seconds']:.1f}",
                "" if pd.isna(row["memory"]) else f"{row['memory']:.0f}",
            )
        )
    return Sheet(title, HEADER, tuple(cells), notes=(f"{said} {protocol(table)}",))


def protocol(table: pd.DataFrame) -> str:
    """Chance, the gallery and how queries are ranked, in sentences."""
    level = table["gallery_level"].str.partition("-")[0]
    usual, *rest = level.value_counts().index
    others = [f"; a {name} for {', '.join(table.loc[level == name, 'configuration'])}" for name in rest]
    sizes = "/".join(map(str, sorted(set(table["gallery_size"]))))
    text = f"Chance is {100 * table['chance'].mean():.2f} %. Every query is ranked alone (inductive) among {sizes} "
    text += f"test images blurred as {usual}{''.join(others)} (w is the kernel width)."
    if table["protocol"].str.endswith(UNLABELLED_TRIALS).any():
        text += f" {ALIGNED} Aligned by{UNLABELLED_TRIALS[1:]}."
    return text


def legend() -> str:
    """What each part is, the options that make it, and what it needs, as a list."""
    return "\n".join(
        f"- *{name}*: {part.what} (`{flags(part)}`{f'; needs {part.needs}' if part.needs else ''})"
        for name, part in PARTS.items()
    )


def flags(part: Part) -> str:
    """Options of ``ubp train`` that switch a part on."""
    words = ["--preset", part.preset] if part.preset else []
    for key, value in part.options.items():
        name = f"--{key.replace('_', '-')}"
        words += [name] if value is True else [name, *(value if isinstance(value, tuple) else [str(value)])]
    return " ".join(words)


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
    block = f"<!-- beyond: {name} -->\n\n{text.strip()}\n\n<!-- end -->"
    return page[: found.start()] + block + page[found.end() :]


def differences_figure(table: pd.DataFrame) -> Figure:
    """Paired differences with intervals, a column for each setting: from `ubp` above, from `ubp-plus` below."""
    table = table.dropna(subset=["difference"])
    if table.empty:
        raise InputError("Nothing was compared, so there is no figure; train ubp or ubp-plus, and a part.")
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
        # a part that is removed helps where its absence hurts
        helps, hurts = (HURTS, HELPS) if table.loc[name, "against"] == PLUS else (HELPS, HURTS)
        colour = helps if low > 0 else hurts if high < 0 else INK
        axes.plot([low, high], [place, place], color=colour, linewidth=1.8)
        axes.plot(value, place, "o", color=colour, markersize=4.5)
    axes.set_yticks(range(len(names)), [name.split(" + ")[-1].split(" - ")[-1] for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
