"""Result tables for the terminal."""

import re
from collections.abc import Container, Iterable

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ubp.config import SETTINGS
from ubp.data.study import Study
from ubp.evaluate import UNLABELLED_TRIALS
from ubp.methods import METHODS
from ubp.results import second_top
from ubp.sheets import Sheet


def table(
    title: str,
    header: Iterable[str],
    rows: Iterable[Iterable[str]],
    caption: str | None = None,
    bold: Container[int] = (),
) -> Table:
    """A table whose first column is text, wrapped where it must be, and whose other columns are aligned right."""
    result = Table(
        title=escape(title), title_justify="left", title_style="bold", caption=caption, caption_justify="left"
    )
    result.min_width = min(78, len(title))
    result.box, result.pad_edge, result.padding = SIMPLE_HEAD, False, (0, 0, 0, 1)
    for place, name in enumerate(header):
        result.add_column(name, justify="left" if place == 0 else "right", no_wrap=place > 0)
    for number, row in enumerate(rows):
        result.add_row(*map(escape, row), style="bold" if number in bold else None)
    return result


def sheet_table(sheet: Sheet) -> Table:
    """A sheet for the terminal."""
    return table(sheet.title, sheet.header, sheet.rows, " ".join(sheet.notes) or None, sheet.bold)


def study_table(study: Study) -> Table:
    """Subjects of a study: trials, channels, samples, and images, concepts and repetitions of each split."""
    header = ("subject", "trials", "channels", "samples", "train", "test")
    rows = []
    for _, row in study.describe().iterrows():
        splits = [
            f"{row[f'{split}_images']} / {row[f'{split}_concepts']} / {row[f'{split}_repetitions']}"
            for split in ("train", "test")
        ]
        rows.append((*(str(row[name]) for name in ("subject", "trials", "channels", "times")), *splits))
    return table(study.info.name, header, rows, caption="train, test: images / concepts / repetitions of an image")


def summary_table(summary: pd.DataFrame, setting: str) -> Table:
    """Methods of one setting with accuracy, interval and chance, in per cent."""
    part = summary[summary["setting"] == setting]
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    top = second_top(part)
    rows = [
        (
            row["method"],
            f"{100 * row['top1']:.1f}",
            f"{100 * row['top1_low']:.1f} to {100 * row['top1_high']:.1f}",
            f"{100 * row[top]:.1f}",
            f"{row['mean_percentile_rank']:.3f}",
            str(row["seeds"]),
            row["gallery_level"].split("-")[0],
        )
        for _, row in part.iterrows()
    ]
    first = part.iloc[0]
    chances = " and ".join(f"{100 * first[name]:.1f} %" for name in ("top1_chance", f"{top}_chance"))
    counts, plural = _each(part["subjects"]), "s" if first["subjects"] > 1 else ""
    averaged = f"{_each(part['repetitions'])} repetitions averaged"
    if set(part["query"]) == {"single trial"}:
        averaged = "single trials"
    ranked = "concepts, their images" if part["protocol"].str.contains("class features").any() else "images,"
    caption = (
        f"chance {chances}; {counts} subject{plural}; gallery of {_each(part['gallery_size'])} {ranked} "
        f"blurred as in the last column (w is the kernel width); percentile is the mean "
        f"percentile rank; {averaged}; {_each(part['protocol'])}"
    )
    header = ("method", "top-1 %", "95 % interval", f"top-{top[3:]} %", "percentile", "seeds", "gallery")
    if top == "top1":
        header, rows = header[:3] + header[4:], [row[:3] + row[4:] for row in rows]
    if part["subjects"].nunique() > 1:
        header, rows = (*header, "subjects"), [(*row, str(n)) for row, n in zip(rows, part["subjects"], strict=True)]
    return table(f"Zero-shot retrieval, {setting}", header, rows, caption)


def transductive_table(rows: pd.DataFrame, setting: str, track: str, presumes: str) -> Table:
    """One transductive track beside the inductive scores, in per cent; `rows` as `transductive.csv` has them."""
    part = rows[(rows["setting"] == setting) & rows["track"].isin(["none", track])]
    top = second_top(part)
    cells: list[tuple[str, ...]] = []
    for method in dict.fromkeys(part["method"]):
        for _, row in part[part["method"] == method].iterrows():
            scores = f"{100 * row['top1']:.1f}", f"{100 * row['top1_low']:.1f} to {100 * row['top1_high']:.1f}"
            inductive = row["track"] == "none"
            gain = f"{100 * row['gain']:+.1f}"
            between = f"{100 * row['gain_low']:+.1f} to {100 * row['gain_high']:+.1f}"
            seconds = (f"{100 * row[top]:.1f}",) if top != "top1" else ()
            last = ("", "") if inductive else (gain, between)
            cells.append((method if inductive else "", row["known"], *scores, *seconds, *last))
    first = part.iloc[0]
    aligned = dict.fromkeys(part.loc[part["protocol"].str.endswith(UNLABELLED_TRIALS), "method"])
    caption = (
        f"{track} presumes that {presumes}. known: which other queries are known; none is inductive, all are the whole "
        "test batch, streaming: queries come one by one in random order and those before are known, partial: those of "
        "half of the gallery, the rest being distractors. Not to be compared with inductive scores. gain is over the "
        f"inductive score, paired, in points. Chance {100 * first['top1_chance']:.1f} %; "
        f"gallery of {_each(part['gallery_size'])} images; {_each(part['repetitions'])} repetitions averaged"
        f"{f'. Aligned by{UNLABELLED_TRIALS[1:]}: ' if aligned else ''}{', '.join(aligned)}"
    )
    seconds = (f"top-{top[3:]} %",) if top != "top1" else ()
    header = ("method", "known", "top-1 %", "95 % interval", *seconds, "gain", "95 % interval")
    return table(f"TRANSDUCTIVE: {track}, {setting}", header, cells, caption)


def n_way_table(summary: pd.DataFrame, setting: str) -> Table | None:
    """Top-1 in per cent among fewer images, with chance; None when none was asked for."""
    part = summary[summary["setting"] == setting]
    sizes = [name.removeprefix("top1_of_") for name in map(str, part) if re.fullmatch(r"top1_of_\d+", name)]
    if not sizes:
        return None
    rows = [(row["method"], *(f"{100 * row[f'top1_of_{n}']:.1f}" for n in sizes)) for _, row in part.iterrows()]
    rows.append(("chance", *(f"{100 / int(n):.1f}" for n in sizes)))
    return table(f"Top-1 % among so many images, {setting}", ("method", *sizes), rows)


def method_table() -> Table:
    """The published methods: main settings and published accuracy."""
    rows = []
    for name, about in METHODS.items():
        options = about.train_options()
        accuracy = [about.published_accuracy(setting) for setting in SETTINGS]
        cells = ["-" if pair is None else f"{pair[0]:.1f} / {pair[1]:.1f}" for pair in accuracy]
        sizes = (f"{options.epochs}", f"{options.batch_size}", f"{options.learning_rate:g}")
        rows.append((name, options.brain_encoder, options.loss, *sizes, *cells))
    header = ("method", "encoder", "loss", "epochs", "batch", "rate", "intra", "inter")
    caption = (
        "rate is the learning rate; intra and inter are published top-1 / top-5 % on THINGS-EEG2, 200-way, mean over "
        "subjects, each method with its own image encoder (Wu et al. print 28.5 / 60.4 and 11.8 / 33.7 for atm-s)"
    )
    return table("Published methods", header, rows, caption)


def _each(values: pd.Series) -> str:
    return "/".join(dict.fromkeys(map(str, values)))


def subject_table(results: pd.DataFrame, setting: str) -> Table:
    """Top-1 in per cent per subject and method, mean over seeds."""
    part = results[results["setting"] == setting]
    methods = list(dict.fromkeys(part["method"]))
    means = part.groupby(["subject", "method"])["top1"].mean()
    rows = [
        (subject, *(f"{100 * means[subject, m]:.1f}" if (subject, m) in means.index else "" for m in methods))
        for subject in sorted(set(part["subject"]))
    ]
    return table(f"Top-1 % by subject, {setting}", ("subject", *methods), rows)


def comparison_table(comparisons: pd.DataFrame, setting: str) -> Table:
    """Paired differences in top-1, in percentage points."""
    shuffled = comparisons[["method", "against"]].apply(lambda names: names.str.contains("shuffled")).any(axis=1)
    part = comparisons[(comparisons["setting"] == setting) & ~shuffled]
    rows = [
        (
            f"{row['method']} - {row['against']}",
            f"{100 * row['difference']:+.1f}",
            f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}",
        )
        for _, row in part.iterrows()
    ]
    caption = "paired over subjects, seeds and images; an interval that leaves out 0 is a difference"
    return table(f"Differences in top-1, points, {setting}", ("methods", "difference", "95 % interval"), rows, caption)
