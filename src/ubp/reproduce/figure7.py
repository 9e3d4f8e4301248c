"""Figure 7: averaged against single trials, in training and in testing."""

from typing import Any

import pandas as pd

from ubp.compare import compare
from ubp.evaluate import larger_k
from ubp.measures import measure
from ubp.plots.conditions import conditions_figure
from ubp.reproduce.models import Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.setup import Group, Setup
from ubp.reproduce.wording import chance_text, described, interval, percent
from ubp.results import Results
from ubp.sheets import Sheet
from ubp.statistics import grand_mean

TITLE = "Figure 7: averaged against single trials"
SETTING = "intra-subject"
DEFAULT = ("vanilla", "blur", "ubp")
WORDS = {True: "averaged", False: "single"}


def plan(setup: Setup) -> Plan:
    """The methods trained on averaged trials, and on single ones."""
    names = setup.choices.methods or DEFAULT
    groups: list[Group] = []
    notes: tuple[str, ...] = ()
    for average in (True, False):
        group, left_out = setup.usable(setup.group(names, SETTING, average=average))
        groups.append(group)
        notes += left_out
    if all(_one_trial(setup, "train")):
        groups.pop()
        notes += ("Left out: training on single trials, because a training image has one trial.",)
    return Plan(tuple(groups), tuple(dict.fromkeys(notes)))


def make(models: Models, plan: Plan) -> Output:
    """Accuracy of every method with averaged or single trials in training and testing; ridge beside them."""
    setup = models.setup
    tests = (True,) if all(_one_trial(setup, "test")) else (True, False)
    measures = [measure(f"top{k}") for k in sorted({1, larger_k(setup.study)})]
    rows: list[dict[str, Any]] = []
    bold: set[int] = set()
    first, chance = None, ""
    for group in plan.groups:
        for averaged in tests:
            measured = models.measured(group, ridge=True, single_trials=not averaged)
            found = {each.name: measured.results(each) for each in measures}
            first = first or found["top1"]
            chance = chance_text(first.table)
            comparison = compare(found["top1"], measures[0], intervals=False) if len(found["top1"].hits) > 1 else None
            for _, method in found["top1"].hits:
                if comparison and comparison.best(SETTING) == method:
                    bold.add(len(rows))
                rows.append(_row(found, method, group.average, averaged))
    table = pd.DataFrame(rows).assign(seeds=" ".join(map(str, setup.seeds)), protocol="inductive")
    notes = (
        "Trained on the mean of an image's trials or on every single one; tested on queries that are the mean of all "
        "trials of a test image, or single trials, every image counting the same. Bold: better than every other "
        "method in "
        "the same condition, by the paired test with Holm's correction.",
        described(setup, first, query="trials as in the row") if first else "",
        f"There are no published figures; chance {chance}.",
        *plan.notes,
    )
    caption = (
        "Top-1 accuracy (mark) with its 95 % bootstrap interval (line), for trials averaged or single in training and "
        "testing; dotted: chance. " + " ".join(notes)
    )
    return Output(TITLE, (_sheet(table, frozenset(bold), notes),), table, conditions_figure(table), caption)


def _one_trial(setup: Setup, split: str) -> list[bool]:
    """Whether every image of a split has one trial, for each subject."""
    tables = [setup.study.recording(subject).trials for subject in setup.subjects]
    return [not table.loc[table["split"] == split, "image"].duplicated().any() for table in tables]


def _row(found: dict[str, Results], method: str, trained: bool, tested: bool) -> dict[str, Any]:
    part = found["top1"].table
    part = part[part["method"] == method]
    row: dict[str, Any] = {
        "condition": f"trained on {WORDS[trained]}\ntested on {WORDS[tested]}",
        "training": WORDS[trained],
        "testing": WORDS[tested],
        "method": method,
        "subjects": part["subject"].nunique(),
        "repetitions": float(part["repetitions"].astype(float).mean()),
        "gallery_size": "/".join(sorted(set(part["gallery_size"].astype(str)))),
    }
    for name, results in found.items():
        scores = results.scores(SETTING, method)
        low, high = results.interval(SETTING, method, scores)
        sizes = part.drop_duplicates("subject")["gallery_size"].astype(int)
        row |= {name: grand_mean(list(scores.values())), f"{name}_low": low, f"{name}_high": high}
        row[f"{name}_chance"] = float(sizes.map(measure(name).by_chance).mean())
    return row


def _sheet(table: pd.DataFrame, bold: frozenset[int], notes: tuple[str, ...]) -> Sheet:
    top = [str(name) for name in table if str(name).startswith("top") and str(name)[3:].isdigit()]
    rows = tuple(
        (
            row["method"],
            row["training"],
            row["testing"],
            *(text for name in top for text in (percent(row[name]), interval(row[f"{name}_low"], row[f"{name}_high"]))),
        )
        for row in table.to_dict("records")
    )
    columns = [text for name in top for text in (f"top-{name[3:]} %", "95 % interval")]
    return Sheet(TITLE, ("method", "trained on", "tested on", *columns), rows, bold, tuple(filter(None, notes)))
