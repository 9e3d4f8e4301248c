"""Table 4: how a subject's accuracy goes with the variability of its signals."""

from typing import Any

import numpy as np
import pandas as pd

from ubp.correlation import FEWEST, KINDS, correlate
from ubp.data.repetitions import image_blocks
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.evaluate import larger_k
from ubp.measures import measure
from ubp.plots.relation import relation_figure
from ubp.published import published
from ubp.reliability import signal_variability, variances
from ubp.reproduce import published_rows
from ubp.reproduce.models import Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.setup import Setup
from ubp.reproduce.wording import described, published_note
from ubp.sheets import Sheet

TITLE = "Table 4: correlation of accuracy with signal variability"
SETTING = "intra-subject"
SPLIT_WORDS = {"train": "training", "test": "test"}


def plan(setup: Setup) -> Plan:
    """Every method of the scale, within subjects.

    Raises
    ------
    InputError
        When there are fewer than 3 subjects, or no trials of one image to tell variability by.
    """
    if len(setup.subjects) < FEWEST:
        raise InputError(f"table4 correlates over subjects and got {len(setup.subjects)}; expected {FEWEST} or more.")
    repeated_split(setup.study, setup.subjects)
    group, notes = setup.usable(setup.group(setup.methods, SETTING))
    return Plan((group,), notes)


def make(models: Models, plan: Plan) -> Output:
    """Correlate the accuracy of every method with the variability of each subject's signals, Pearson and Spearman."""
    setup, (group,) = models.setup, plan.groups
    measured = models.measured(group, ridge=True)
    split = repeated_split(setup.study, group.subjects)
    variability = {
        subject: subject_variability(setup.study, subject, split, setup.channels) for subject in group.subjects
    }
    names = [f"top{k}" for k in sorted({1, larger_k(setup.study)})]
    found = {name: measured.results(measure(name)) for name in names}
    points, rows = [], []
    for setting, method in found["top1"].hits:
        scores = {name: results.scores(setting, method) for name, results in found.items()}
        for subject in group.subjects:
            accuracy = {name: float(scores[name][subject].mean()) for name in names}
            points.append({"method": method, "subject": subject, "variability": variability[subject], **accuracy})
        row: dict[str, Any] = {"method": method, "n": len(group.subjects)}
        for kind in KINDS:
            for name in names:
                accuracies = [float(scores[name][subject].mean()) for subject in group.subjects]
                one = correlate([variability[subject] for subject in group.subjects], accuracies, kind)
                row |= {f"{kind}_{name}": one.value, f"{kind}_{name}_low": one.low, f"{kind}_{name}_high": one.high}
                row[f"published_{kind}_{name}"] = published_correlation(method, f"{kind}_{name}")
        rows.append(row)
    correlations, each = pd.DataFrame(rows), pd.DataFrame(points)
    notes = (
        f"Over {len(group.subjects)} subjects; 95 % bootstrap intervals over them, too narrow where they are so few. "
        "Variability: mean over channels and times of the spread of trials of one image over the spread of all trials, "
        f"of the {SPLIT_WORDS[split]} trials; the paper's main text does not define its own.",
        described(setup, found["top1"]),
        published_note(setup, "things-eeg2", "10 subjects"),
        *plan.notes,
    )
    sheets = [_sheet(correlations, kind, names) for kind in KINDS]
    sheets.append(_subjects(each, notes))
    table = each.merge(correlations, on="method").assign(split=split, seeds=" ".join(map(str, group.seeds)))
    caption = (
        "Top-1 accuracy of every subject (dot, numbered as in the study) against the variability of its signals, with "
        "the least-squares line and Pearson's r. " + " ".join(notes)
    )
    return Output(TITLE, tuple(sheets), table, relation_figure(each, correlations), caption)


def repeated_split(study: Study, subjects: tuple[str, ...]) -> str:
    """Where trials are repeated: train, or test where a training image has one trial.

    Raises
    ------
    InputError
        When no image was shown twice.
    """
    for split in ("train", "test"):
        tables = [study.recording(subject).trials for subject in subjects]
        if all(table.loc[table["split"] == split, "image"].duplicated().any() for table in tables):
            return split
    raise InputError(f"No image of {study.root} has two trials with every subject; variability needs repeated trials.")


def subject_variability(study: Study, subject: str, split: str, channels: tuple[str, ...] | None = None) -> float:
    """Variability of a subject's signals, see :func:`ubp.reliability.signal_variability`."""
    recording = study.recording(subject)
    names = list(recording.channel_names)
    picks = np.array([names.index(name) for name in channels]) if channels else None
    return signal_variability(variances(image_blocks(recording, split)), picks)


def published_correlation(method: str, column: str) -> float:
    """A published correlation of a method of ours; NaN where there is none."""
    table = published("variability_correlation")
    part = table[table["method"].str.lower() == published_rows.plain(method)]
    return float(part[column].iloc[0]) if len(part) and column in part else float("nan")


def _sheet(correlations: pd.DataFrame, kind: str, names: list[str]) -> Sheet:
    rows = []
    for row in correlations.to_dict("records"):
        texts = [row["method"]]
        for name in names:
            column = f"{kind}_{name}"
            texts += [_signed(row[column]), _between(row[f"{column}_low"], row[f"{column}_high"])]
            texts.append(_signed(row[f"published_{column}"]))
        rows.append(tuple(texts))
    columns = [text for name in names for text in (f"top-{name[3:]}", "95 % interval", "published")]
    title = f"{TITLE}: {kind.capitalize()}, n = {correlations['n'].iloc[0]}"
    return Sheet(title, ("method", *columns), tuple(rows))


def _subjects(each: pd.DataFrame, notes: tuple[str, ...]) -> Sheet:
    methods = list(dict.fromkeys(each["method"]))
    top1 = {(row["subject"], row["method"]): row["top1"] for row in each.to_dict("records")}
    variability = each.drop_duplicates("subject").set_index("subject")["variability"]
    rows = tuple(
        (str(subject), f"{value:.3f}", *(f"{100 * top1[subject, method]:.1f}" for method in methods))
        for subject, value in variability.items()
    )
    return Sheet("Variability and top-1 % of every subject", ("subject", "variability", *methods), rows, notes=notes)


def _signed(value: float) -> str:
    return f"{value:+.2f}" if np.isfinite(value) else ""


def _between(low: float, high: float) -> str:
    return f"{low:+.2f} to {high:+.2f}" if np.isfinite(low) else ""
