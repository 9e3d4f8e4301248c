"""The parts of the page as HTML: what a quantity is, its table, its figures."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from ubp.data.sensors import Sensors
from ubp.data.study import Study
from ubp.data.tables import SPLITS
from ubp.look import tables
from ubp.look.summary import N_SPLITS, Summary
from ubp.page.html import figure_html, paragraphs
from ubp.plots import (
    channel_bars_figure,
    counts_figure,
    curves_figure,
    evoked_figure,
    images_figure,
    reliability_figure,
    responses_figure,
    subjects_figure,
    topographies_figure,
)

N_SHOWN = 24


def trials(study: Study, subjects: Sequence[str]) -> str:
    """What was shown how often."""
    recordings = [study.recording(subject).trials for subject in subjects]
    concepts, repeats = {}, {}
    for split in SPLITS:
        parts = [table[table["split"] == split] for table in recordings]
        shown = {image for part in parts for image in part["image"]}
        if shown:
            concepts[split] = np.unique([study.concepts[image] for image in shown], return_counts=True)[1]
            repeats[split] = np.concatenate([part["image"].value_counts().to_numpy() for part in parts])
    caption = "Left: how many images a concept has. Right: how many trials an image has with one subject."
    return tables.trials(study, subjects) + figure_html(counts_figure(concepts, repeats), caption)


def images(study: Study, subjects: Sequence[str], split: str, seed: int) -> str:
    """A sample of the split's images, of different concepts while there are enough."""
    found = {image for s in subjects for image in _of_split(study, s, split)}
    mixed = np.random.default_rng(seed).permutation(sorted(found)).tolist()
    first = list({study.concepts[image]: image for image in reversed(mixed)}.values())[::-1]
    chosen = (first + [image for image in mixed if image not in set(first)])[:N_SHOWN]
    caption = f"{len(chosen)} of {len(mixed)} {split} images, chosen at random, with their concepts."
    names = {image: study.concepts[image] for image in chosen}
    return figure_html(images_figure(study.image_folder, chosen, names), caption, photographic=True)


def _of_split(study: Study, subject: str, split: str) -> Iterable[str]:
    table = study.recording(subject).trials
    return table["image"][table["split"] == split].unique()


def responses(summaries: Sequence[Summary]) -> str:
    """Mean over trials of every channel: over time with maps at peaks, or one bar a channel."""
    parts = []
    for s in summaries:
        what = f"{s.recording.subject}: mean over {s.found.n_trials} {s.split} trials"
        if s.n_times == 1:
            spread = np.sqrt(s.found.of_means)
            names = list(s.recording.channel_names)
            caption = f"{what} (bar) and standard deviation over images of their means (line) of every channel."
            parts.append(figure_html(responses_figure(s.found.mean[:, 0], spread[:, 0], names), caption))
            continue
        placed = s.sensors if isinstance(s.sensors, Sensors) else None
        types = s.recording.channels["type"].astype(str).to_numpy()
        caption = f"{what}, every channel"
        if len(types) > 1:
            caption += ", and their field power (GFP: standard deviation over channels)"
        caption += ", drawn by mne."
        if placed:
            caption += f" Above: maps at the most prominent peaks of the field power. {placed.source}"
        parts.append(figure_html(evoked_figure(s.found.mean, s.times, types, placed, s.in_seconds), caption))
    unit = (
        "The mean over all trials shows what every image evokes, not what differs between images. Signals are in the "
        "unit of the study, which its files do not name."
    )
    return paragraphs(unit) + "".join(parts)


def topographies(summaries: Sequence[Summary]) -> str:
    """Maps in successive windows of time."""
    drawn = [s for s in summaries if s.n_times > 1 and isinstance(s.sensors, Sensors)]
    parts = []
    for (_, in_seconds), group in groupby(drawn, key=lambda s: (s.times.tobytes(), s.in_seconds)):
        same = list(group)
        means = {s.recording.subject: s.found.mean for s in same}
        sensors = {s.recording.subject: s.sensors for s in same if isinstance(s.sensors, Sensors)}
        figure = topographies_figure(means, sensors, same[0].times, in_seconds)
        caption = (
            f"{', '.join(means)}: mean over {same[0].split} trials and over successive windows of time. Each subject "
            "has its own scale, symmetric about 0."
        )
        parts.append(figure_html(figure, caption))
    return "".join(parts) + _no_map(summaries)


def _no_map(summaries: Sequence[Summary]) -> str:
    """Why there are no maps, once for all subjects with the same reason."""
    reasons: dict[str, list[str]] = {}
    for s in summaries:
        if isinstance(s.sensors, str):
            reasons.setdefault(s.sensors, []).append(s.recording.subject)
        elif s.n_times == 1:
            reasons.setdefault("a trial is one sample, so there is no time course", []).append(s.recording.subject)
    return paragraphs(*(f"No topographies of {', '.join(who)}: {why}." for why, who in reasons.items()))


def reliability(summaries: Sequence[Summary]) -> str:
    """Split-half reliability: definition, table and a figure a subject."""
    definition = (
        f"For each channel and time, the trials of an image are divided at random into two halves, and r is the "
        f"correlation over images of the means of the halves, averaged over {N_SPLITS} seeded divisions. Reliability, "
        "that of the mean of all trials, is 2r / (1 + |r|) (Spearman and Brown). For n trials an image, r is expected "
        "to be a / (a + 2e/n) and reliability a / (a + e/n), where a is the variance over images and e that over "
        "trials of one image. Median and range are over channels, of the mean over time."
    )
    good = [s for s in summaries if not s.missing]
    parts = [paragraphs(definition, _missing(summaries)), tables.reliability(good) if good else ""]
    for s in good:
        names, subject = s.recording.channel_names, s.recording.subject
        what = f"{subject}: reliability of the mean of the trials of an image, over {s.n_halves} {s.split} images"
        total = int((s.trials > 1).sum())
        if s.n_halves < total:
            what += f" chosen at random out of {total}"
        if s.n_times == 1:
            figure = channel_bars_figure(s.reliability[:, 0], names, "reliability")
            what += "; channels from the most reliable to the least"
        else:
            placed = s.sensors if isinstance(s.sensors, Sensors) else None
            figure = reliability_figure(s.reliability, s.times, names, placed, s.in_seconds)
            what += "; values below 0 have the colour of 0"
        n_missing = int((~np.isfinite(s.reliability)).all(axis=1).sum())
        missing = f" Missing, because constant: {n_missing} of {len(names)} channels." if n_missing else ""
        parts.append(figure_html(figure, f"{what}.{missing}"))
    return "".join(parts)


def _missing(summaries: Sequence[Summary]) -> str:
    return " ".join(s.missing for s in summaries if s.missing)


def ceiling(summaries: Sequence[Summary]) -> str:
    """Noise ceiling: definition, table and figure."""
    definition = (
        "A model that predicts an image's mean response from the image alone can correlate with it, over images, at "
        "most √(a / V), where V is the variance over images of their means and a = V − e · mean(1/nᵢ) the part that is "
        "not left-over noise; e is the pooled variance over trials of one image, nᵢ the trials of image i. It is 0 "
        "where a is not above 0. It speaks of the mean of all trials of this split, not of single trials."
    )
    good = [s for s in summaries if not s.missing and np.isfinite(s.ceiling).any()]
    parts = [paragraphs(definition, _missing(summaries))]
    parts.append(tables.ceiling(good) if good else "")
    curves = {s.recording.subject: s for s in good if s.n_times > 1}
    points = {s.recording.subject: s.ceiling[:, 0] for s in good if s.n_times == 1}
    for in_seconds in (True, False):
        lines = {
            name: (s.times, np.nanmedian(s.ceiling[np.isfinite(s.ceiling).any(axis=1)], axis=0))
            for name, s in curves.items()
            if s.in_seconds == in_seconds
        }
        if lines:
            caption = "Noise ceiling over time: median over channels, one line a subject."
            parts.append(figure_html(curves_figure(lines, "noise ceiling (r)", in_seconds), caption))
    if points:
        caption = "Noise ceiling: mean over channels (dot) and middle 80 % of the channels (bar)."
        parts.append(figure_html(subjects_figure(points, "noise ceiling (r)", (0, 1)), caption))
    return "".join(parts)


def variability(summaries: Sequence[Summary], modality: str) -> str:
    """Trial-to-trial variability: definition, table and figure."""
    definition = (
        "How far trials of one image differ, against how far all trials differ: the mean over channels and times of "
        "√(e / (e + a)), with e = Σᵢᵣ (xᵢᵣ − x̄ᵢ)² / Σᵢ (nᵢ − 1) the pooled variance over trials r of one image i and a "
        "the variance over images (not below 0). 0: trials of an image are alike; 1: they differ as much as trials of "
        "different images. It has no unit and does not depend on the number of trials. √e itself is beside it, in the "
        "study's unit: it compares subjects only where all were scaled alike, and whitening fixes it near 1."
    )
    paper = (
        "The paper of the method (Wu et al., CVPR 2025, Figure 2c) relates such a variability of each subject to its "
        "accuracy: the more it varies, the lower the accuracy. How the paper computes it could not be checked, so its "
        "numbers and these are comparable in rank at best."
    )
    counts = modality == "spikes"
    good = [s for s in summaries if not s.missing and np.isfinite(s.variability).any()]
    parts = [paragraphs(definition, paper, _missing(summaries))]
    if good:
        values = {s.recording.subject: tables.over_time(s.variability) for s in good}
        caption = "Variability of each subject: mean over channels (dot) and middle 80 % of the channels (bar)."
        parts.append(tables.variability(good, counts))
        parts.append(figure_html(subjects_figure(values, "trial-to-trial variability"), caption))
    return "".join(parts)
