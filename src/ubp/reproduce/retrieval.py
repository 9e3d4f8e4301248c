"""Retrieval of every subject in both settings, as in the paper's tables for EEG and MEG."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from ubp.compare import Comparison, compare
from ubp.comparison_sheets import bold_note
from ubp.config import BRAVL, SETTINGS
from ubp.data.facts import DATASETS
from ubp.evaluate import larger_k
from ubp.measures import Measure, measure
from ubp.plots.retrieval import retrieval_figure
from ubp.reproduce import published_rows
from ubp.reproduce.models import Measured, Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.setup import Setup
from ubp.reproduce.wording import SOURCE, described, one_digit, published_note
from ubp.results import Results, merged
from ubp.sheets import Sheet
from ubp.statistics import bootstrap_interval

CHANCE, MEAN = "chance", "mean"
BRAVL_PROTOCOL = (
    "The published figures of BraVL are under another protocol, a classifier of class features that also learned from "
    "the test images and texts; ours rank the test images, as for every method (`ubp evaluate --class-features` does "
    "the other)."
)
ATM_S = "For ATM-S the paper prints other means: 28.5 / 60.4 intra-subject and 11.8 / 33.7 inter-subject."


def plan_retrieval(setup: Setup) -> Plan:
    """Every method of the scale in both settings."""
    settings, notes = setup.settings(SETTINGS)
    groups = []
    for setting in settings:
        group, left_out = setup.usable(setup.group(setup.methods, setting))
        groups.append(group)
        notes += left_out
    return Plan(tuple(groups), tuple(dict.fromkeys(notes)))


def retrieval(models: Models, plan: Plan, title: str, dataset: str) -> Output:
    """Train and evaluate the plan's methods, and set the published figures of a dataset beside them."""
    setup = models.setup
    parts = [models.measured(group, ridge=True) for group in plan.groups]
    measures = [measure(f"top{k}") for k in sorted({1, larger_k(setup.study)})]
    found = {each.name: _all(parts, each) for each in measures}
    compared = {each.name: _compared(found[each.name], each) for each in measures}
    first = found["top1"]
    settings = [group.setting for group in plan.groups]
    sheets = [
        _sheet(f"{title}, {setting}, {each.label} %", found[each.name], compared[each.name], setting, each, dataset)
        for setting in settings
        for each in measures
    ]
    notes = (
        described(setup, first),
        published_note(setup, dataset, "each method with its own image encoder"),
        *([BRAVL_PROTOCOL] if any(published_rows.plain(method) == BRAVL for _, method in first.hits) else []),
        *plan.notes,
    )
    sheets[-1] = Sheet(
        sheets[-1].title, sheets[-1].header, sheets[-1].rows, sheets[-1].bold, (*sheets[-1].notes, *notes)
    )
    table = pd.DataFrame([row for setting in settings for row in _rows(found, setting, dataset)])
    caption = (
        "Top-1 accuracy: each small dot a subject (mean over seeds), the large one their mean with its 95 % bootstrap "
        "interval, the diamond the published mean, the dotted line chance. " + " ".join(notes)
    )
    figure = retrieval_figure(table[table["subject"] == MEAN], table[table["subject"] != MEAN])
    return Output(
        title, tuple(sheets), table, figure, caption, tuple(_published(dataset, setting) for setting in settings)
    )


def _all(parts: list[Measured], each: Measure) -> Results:
    return merged(part.results(each) for part in parts)


def _compared(results: Results, each: Measure) -> Comparison | None:
    """The paired tests behind bold type; None with one method."""
    return compare(results, each, intervals=False) if len({method for _, method in results.hits}) > 1 else None


def _sheet(
    title: str, results: Results, comparison: Comparison | None, setting: str, each: Measure, dataset: str
) -> Sheet:
    part = results.table[results.table["setting"] == setting]
    subjects = sorted(set(part["subject"]))
    size = part.groupby("subject")["gallery_size"].first()
    by_chance = [each.by_chance(int(size[subject])) for subject in subjects]
    rows = [(CHANCE, *map(each.shown, by_chance), each.shown(sum(by_chance) / len(by_chance)), "", "")]
    names = [method for where, method in results.hits if where == setting]
    for method in names:
        scores = results.scores(setting, method)
        low, high = results.interval(setting, method, scores)
        cells = [each.shown(float(scores[subject].mean())) if subject in scores else "" for subject in subjects]
        mean = each.shown(sum(float(values.mean()) for values in scores.values()) / len(scores))
        theirs = published_rows.mean(dataset, method, setting)
        printed = one_digit(theirs[0 if each.name == "top1" else 1]) if theirs and each.name in ("top1", "top5") else ""
        rows.append((method, *cells, mean, f"{each.shown(low)} to {each.shown(high)}", printed))
    best = comparison.best(setting) if comparison else None
    bold = frozenset([1 + names.index(best)]) if best else frozenset()
    header = ("method", *subjects, MEAN, "95 % interval", "published")
    notes = tuple(filter(None, [bold_note(comparison, setting) if comparison else ""]))
    return Sheet(title, header, tuple(rows), bold, notes)


def _rows(found: dict[str, Results], setting: str, dataset: str) -> Iterator[dict[str, Any]]:
    """A row for every method and subject, and one for its mean; published values beside the mean."""
    first = found["top1"]
    for where, method in first.hits:
        if where != setting:
            continue
        table = first.table
        part = table[(table["setting"] == setting) & (table["method"] == method)]
        protocol = {
            "seeds": " ".join(sorted(set(part["seed"].astype(str)))),
            "gallery_size": "/".join(sorted(set(part["gallery_size"].astype(str)))),
            "gallery_level": "/".join(sorted(set(part["gallery_level"]))),
            "query": part["query"].iloc[0],
            "repetitions": float(part["repetitions"].astype(float).mean()),
            "protocol": part["protocol"].iloc[0],
        }
        for subject in (*sorted(set(part["subject"])), MEAN):
            row: dict[str, Any] = {"setting": setting, "method": method, "subject": subject}
            for name, results in found.items():
                scores = results.scores(setting, method)
                if subject == MEAN:
                    values, (low, high) = list(scores.values()), results.interval(setting, method, scores)
                else:
                    values = [scores[subject]]
                    low, high = bootstrap_interval(values)
                row |= {
                    name: sum(float(v.mean()) for v in values) / len(values),
                    f"{name}_low": low,
                    f"{name}_high": high,
                }
                sizes = part[part["subject"] == subject] if subject != MEAN else part.drop_duplicates("subject")
                row[f"{name}_chance"] = float(sizes["gallery_size"].astype(int).map(measure(name).by_chance).mean())
            theirs = published_rows.mean(dataset, method, setting) if subject == MEAN else None
            row |= {"published_top1": theirs[0] / 100 if theirs else None}
            row |= {"published_top5": theirs[1] / 100 if theirs else None}
            yield row | protocol


def _published(dataset: str, setting: str) -> Sheet:
    table = published_rows.by_subject(dataset, setting)
    subjects = list(dict.fromkeys(table["subject"]))
    rows = []
    for method, part in table.groupby("method", sort=False):
        cells = part.set_index("subject")
        both = [f"{cells['top1'][subject]:.1f} / {cells['top5'][subject]:.1f}" for subject in subjects]
        rows.append((str(method), *both, f"{one_digit(part['top1'].mean())} / {one_digit(part['top5'].mean())}"))
    title = f"As published on {DATASETS[dataset].title}, {setting}, top-1 / top-5 %"
    notes = (f"{SOURCE}; means are of the rows here.", *([ATM_S] if dataset == "things-eeg2" else []))
    return Sheet(title, ("method", *subjects, MEAN), tuple(rows), notes=notes)
