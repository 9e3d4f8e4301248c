"""How well images were found: accuracy with interval and chance, the protocol, and which methods differ."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ubp.compare import Comparison, compare
from ubp.comparison_sheets import differences_sheet
from ubp.described import plain
from ubp.errors import InputError
from ubp.measures import measure
from ubp.page.html import figure_html, folded, heading, note, paragraphs, sheet_html, wide
from ubp.plots import accuracy_figure
from ubp.report.evaluated import Evaluated
from ubp.report.runs import Run
from ubp.results import RIDGE, second_top

INTERVALS = (
    "MRR: mean of 1 / rank; percentile: mean share of the gallery ranked below the image seen; similarity: mean "
    "score of the image seen. Inductive means that every query is ranked alone and nothing is fitted on the test "
    "trials. Intervals are bootstrap intervals at 95 % over test images, and over seeds and subjects where there "
    "are several. Tied images count as their mean rank."
)
RIDGE_NOTE = "ridge: linear regression from the signals to the image vectors, for comparison."
CONDITIONS = ("setting", "subjects", "seeds", "gallery_size", "gallery_level", "query", "repetitions", "protocol")
RANKED = {"mean_reciprocal_rank": "MRR", "mean_percentile_rank": "percentile", "matched_similarity": "similarity"}
MOST_ROWS = 12  # a longer table is folded away


def result(found: Sequence[Evaluated], without: Sequence[Run], sentences: Sequence[str]) -> str:
    """Accuracy of every method, by study and way to evaluate."""
    parts = [not_evaluated(without), note(*sentences)]
    for one in found:
        summary, table = one.results.summary(), one.results.table
        caption = "Top-1 accuracy of each method (dot) with its 95 % bootstrap interval (bar); dotted: chance."
        ridge = RIDGE_NOTE if summary["method"].str.startswith(RIDGE).any() else ""
        parts += [heading(one.title), wide(_summary_rows(summary)), paragraphs(_same(summary), ridge)]
        parts += [
            paragraphs(f"Protocol: {protocol(table)}. {INTERVALS}"),
            figure_html(accuracy_figure(summary), caption),
        ]
        parts.append(_subjects(table))
    return "".join(parts)


def not_evaluated(without: Sequence[Run]) -> str:
    """Which runs have no result, and what gives them one."""
    if not without:
        return ""
    names = "; ".join(f"{run.label}, {run.place}" for run in without[:MOST_ROWS])
    more = f" and {len(without) - MOST_ROWS} more" if len(without) > MOST_ROWS else ""
    roots = " and ".join(f"`ubp evaluate {root}`" for root in dict.fromkeys(run.root.name for run in without))
    return note(f"Not evaluated yet: {names}{more}; run {roots}. A report does not touch the test trials itself.")


def _summary_rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    top = second_top(summary)
    rows = []
    for row in summary.to_dict("records"):
        cells: dict[str, Any] = {"method": row["method"], "top-1 (%)": f"{100 * row['top1']:.1f}"}
        cells["95 % interval"] = f"{100 * row['top1_low']:.1f} to {100 * row['top1_high']:.1f}"
        cells["chance (%)"] = f"{100 * row['top1_chance']:.2f}"
        if top != "top1":
            cells[f"top-{top[3:]} (%)"] = f"{100 * row[top]:.1f}"
        for name in row:
            size = str(name).removeprefix("top1_of_")
            if size.isdigit():
                cells[f"top-1 of {size} (%)"] = f"{100 * row[name]:.1f}"
        cells |= {short: f"{row[name]:.3f}" for name, short in RANKED.items()}
        for name in CONDITIONS:
            if summary[name].nunique() > 1:
                cells[name.replace("_", " ")] = plain(row[name])
        rows.append(cells)
    return rows


def _same(summary: pd.DataFrame) -> str:
    """What is the same for all methods, beside the protocol."""
    said = "; ".join(
        f"{name} {plain(summary[name].iloc[0])}" for name in CONDITIONS[:3] if summary[name].nunique() == 1
    )
    return f"For all methods: {said}." if said else ""


def protocol(table: pd.DataFrame) -> str:
    """Protocol of the rows of a table of results, in words."""

    def values(column: str) -> str:
        return ", ".join(dict.fromkeys(map(plain, table[column].tolist())))

    return (
        f"{values('protocol')}; gallery of {values('gallery_size')} images at blur level {values('gallery_level')}; "
        f"each query is a {values('query')}; repetitions averaged per query: {values('repetitions')} (mean over "
        "queries)"
    )


def _subjects(table: pd.DataFrame) -> str:
    """Top-1 of every subject, one column a method; nothing for one subject."""
    parts = []
    for setting, part in table.groupby("setting", sort=False):
        means = part.groupby(["subject", "method"], sort=False)["top1"].mean().unstack()
        if len(means) < 2:
            continue
        rows = [
            {"subject": subject}
            | {str(name): "" if pd.isna(value) else f"{100 * value:.1f}" for name, value in row.items()}
            for subject, row in means.iterrows()
        ]
        parts.append(folded(f"Top-1 in per cent of each subject, {setting}, mean over seeds ({len(rows)})", wide(rows)))
    return "".join(parts)


def differences(found: Sequence[Evaluated]) -> str:
    """The paired tests of `ubp compare`, by study and way to evaluate."""
    parts = []
    for one in found:
        parts.append(heading(one.title))
        try:
            parts.append(_differences(compare(one.results, measure("top1"))))
        except InputError as error:  # one method only, or nothing in common
            parts.append(paragraphs(str(error)))
    return "".join(parts)


def _differences(comparison: Comparison) -> str:
    settings = dict.fromkeys(comparison.differences["setting"])
    if not settings:
        return paragraphs("No two methods were evaluated on the same subject, so nothing can be compared.")
    return "".join(sheet_html(differences_sheet(comparison, setting)) for setting in settings)
