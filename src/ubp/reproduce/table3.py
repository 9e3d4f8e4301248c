"""Table 3: what the training images are transformed with, published rows beside ours."""

from typing import Any

import pandas as pd

from ubp.compare import compare
from ubp.comparison_sheets import bold_note
from ubp.evaluate import larger_k
from ubp.measures import measure
from ubp.plots.retrieval import retrieval_figure
from ubp.published import published
from ubp.reproduce.models import Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.setup import Setup
from ubp.reproduce.wording import described, interval, percent, published_note
from ubp.results import Results
from ubp.sheets import Sheet
from ubp.statistics import grand_mean

TITLE = "Table 3: image transformations"
CRISP = "vanilla"


def plan(setup: Setup) -> Plan:
    """Every transformation, within subjects unless other settings are asked for."""
    settings, notes = setup.settings(("intra-subject",))
    groups = []
    for setting in settings:
        group, left_out = setup.usable(setup.group(tuple(PRESET_OF.values()), setting))
        groups.append(group)
        notes += left_out
    return Plan(tuple(groups), tuple(dict.fromkeys(notes)))


def make(models: Models, plan: Plan) -> Output:
    """Train with every transformation; the gallery gets the one of the training images (for `ubp` the middle level).

    Differences to the crisp images are paired over subjects, seeds and test images.
    """
    setup, sheets, parts = models.setup, [], []
    k = larger_k(setup.study)
    for group in plan.groups:
        measured = models.measured(group)
        results = measured.results(measure("top1"))
        rows = compare_with_published(results, measured.results(measure(f"top{k}")), group.setting, k)
        levels = {job.preset.name: job.preset.base.name for job in setup.jobs(group)}
        rows.insert(2, "level", [levels[name] for name in rows["transformation"]])
        comparison = compare(results, measure("top1"), intervals=False)
        best = comparison.best(group.setting)
        bold = frozenset(rows.index[rows["transformation"] == best].tolist())
        notes = described(setup, results, " under the row's transformation"), _published(setup, group.setting)
        sheets.append(
            Sheet(f"{TITLE}, {group.setting}", header(k), cells(rows, k), bold, (bold_note(comparison, group.setting),))
        )
        sheets.append(
            Sheet(
                f"Gain in top-1 over {CRISP}, points, {group.setting}", GAINS, gains(rows), notes=(*notes, *plan.notes)
            )
        )
        parts.append(rows.assign(seeds=" ".join(map(str, group.seeds)), protocol=results.table["protocol"].iloc[0]))
    table = pd.concat(parts, ignore_index=True)
    caption = (
        f"Top-1 accuracy with each transformation of the images (dot) with its 95 % bootstrap interval (bar), the "
        f"published mean (diamond) and chance (dotted). {' '.join(dict.fromkeys(notes))}"
    )
    return Output(
        TITLE, tuple(sheets), table, retrieval_figure(table.rename(columns={"transformation": "method"})), caption
    )


def compare_with_published(results: Results, results_top_k: Results, setting: str, k: int = 5) -> pd.DataFrame:
    """Our accuracies with intervals, differences to the crisp images, and the published row, for every transformation.

    Parameters
    ----------
    results, results_top_k : Results
        With hits at rank 1 and among the best k.
    setting : {"intra-subject", "inter-subject"}
        Of ours; the published columns are of the same setting.
    k : int
    """
    printed = published("table3").set_index("transformation").filter(regex="top").astype(float) / 100
    prefix = setting.removesuffix("-subject")
    rows: list[dict[str, Any]] = []
    for row_name, method in PRESET_OF.items():
        if (setting, method) not in results.hits:
            continue
        row: dict[str, Any] = {"setting": setting, "transformation": method}
        for name, measured in (("top1", results), (f"top{k}", results_top_k)):
            scores = measured.scores(setting, method)
            low, high = measured.interval(setting, method, scores)
            row |= {name: grand_mean(list(scores.values())), f"{name}_low": low, f"{name}_high": high}
            sizes = measured.table.drop_duplicates("subject")["gallery_size"].astype(int)
            row[f"{name}_chance"] = float(sizes.map(measure(name).by_chance).mean())
        difference = results.comparison(setting, method, CRISP) if method != CRISP else None
        row |= {
            "difference": difference["difference"] if difference else None,
            "difference_low": difference["low"] if difference else None,
            "difference_high": difference["high"] if difference else None,
        }
        for name in ("top1", "top5"):
            row[f"published_{name}"] = printed[f"{prefix}_{name}"][row_name]
        row["published_difference"] = row["published_top1"] - printed[f"{prefix}_top1"][CRISP]
        rows.append(row)
    return pd.DataFrame(rows)


def header(k: int) -> tuple[str, ...]:
    """Columns of the table of accuracies."""
    return ("images", "top-1 %", "95 % interval", f"top-{k} %", "95 % interval", "published")


def cells(rows: pd.DataFrame, k: int) -> tuple[tuple[str, ...], ...]:
    """The table of accuracies."""
    found = []
    for row in rows.to_dict("records"):
        ours: list[str] = []
        for name in ("top1", f"top{k}"):
            ours += percent(row[name]), interval(row[f"{name}_low"], row[f"{name}_high"])
        theirs = " / ".join(percent(row[f"published_{name}"]) for name in ("top1", "top5"))
        found.append((row["transformation"], *ours, theirs))
    return tuple(found)


def gains(rows: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    """The table of gains over the crisp images."""
    return tuple(
        (
            row["transformation"],
            percent(row["difference"], sign=True),
            interval(row["difference_low"], row["difference_high"], sign=True),
            percent(row["published_difference"], sign=True),
        )
        for row in rows[rows["difference"].notna()].to_dict("records")
    )


def _published(setup: Setup, setting: str) -> str:
    return published_note(setup, "things-eeg2", f"Table 3, {setting}, 10 subjects, RN50")


GAINS = ("images", "gain", "95 % interval", "published gain")

PRESET_OF = {
    "vanilla": "vanilla",
    "flip": "flip",
    "crop": "crop",
    "grayscale": "grayscale",
    "color_jitter": "color-jitter",
    "noise": "noise",
    "low_resolution": "low-resolution",
    "uniform_blur": "uniform-blur",
    "fovea_blur": "blur",
    "ubp": "ubp",
}
"""Rows of the published table, and the presets that make them."""
