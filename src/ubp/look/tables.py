"""The tables of the page: trials, and one row a subject of what its repetitions say."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ubp.data.study import Study
from ubp.data.tables import SPLITS
from ubp.look.summary import Summary
from ubp.page.html import folded, wide

MOST_SESSIONS = 12  # a longer table is folded away


def trials(study: Study, subjects: Iterable[str]) -> str:
    """Images, repetitions and trials of each split by subject, and trials by session."""
    table = study.describe().set_index("subject").loc[list(subjects)]
    rows = []
    for subject, row in table.iterrows():
        splits = study.recording(str(subject)).trials["split"].value_counts()
        for split in SPLITS:
            cells: dict[str, Any] = {"subject": subject, "split": split, "images": row[f"{split}_images"]}
            cells |= {"concepts": row[f"{split}_concepts"], "trials": int(splits.get(split, 0))}
            cells["trials of an image"] = row[f"{split}_repetitions"].replace("-", " to ")
            cells |= {"sessions": row["sessions"], "channels": row["channels"], "samples": row["times"]}
            rows.append(cells)
    return wide(rows) + _sessions(study, table.index)


def _sessions(study: Study, subjects: Iterable[str]) -> str:
    """Trials by session; nothing where every subject has one."""
    rows = []
    for subject in subjects:
        counts = study.recording(subject).trials.groupby(["session", "split"]).size().unstack(fill_value=0)
        for session, row in counts.iterrows():
            rows.append({"subject": subject, "session": session} | {f"{s} trials": int(row.get(s, 0)) for s in SPLITS})
    if len(rows) == len({row["subject"] for row in rows}):
        return ""
    if len(rows) <= MOST_SESSIONS:
        return wide(rows)
    return folded(f"Trials of each session ({len(rows)})", wide(rows))


def reliability(summaries: Sequence[Summary]) -> str:
    """Median over channels of the correlation of halves and of the reliability, and where it is best."""
    rows = []
    for s in summaries:
        cells: dict[str, Any] = {"subject": s.recording.subject}
        if not np.isfinite(s.halves).any():
            rows.append(cells | {"images": s.n_halves, "halves, median": "none"})
            continue
        repeated = s.trials[s.trials > 1]
        low, high = int(repeated.min()), int(repeated.max())
        best = np.unravel_index(int(np.nanargmax(s.reliability)), s.reliability.shape)
        cells |= {"images": s.n_halves, "trials of each": f"{low}" if low == high else f"{low} to {high}"}
        cells |= {"halves, median": two(middle(s.halves)), "halves, range": span(over_time(s.halves))}
        cells |= {"reliability, median": two(middle(s.reliability)), "best": two(float(s.reliability[best]))}
        cells["best at"] = place(s, best)
        rows.append(cells)
    return wide(rows)


def ceiling(summaries: Sequence[Summary]) -> str:
    """Median over channels and best of the noise ceiling, for means of all trials."""
    rows = []
    for s in summaries:
        values = s.ceiling
        cells: dict[str, Any] = {"subject": s.recording.subject, "ceiling, median": two(middle(values))}
        if np.isfinite(values).any():
            best = np.unravel_index(int(np.nanargmax(values)), values.shape)
            cells |= {"best": two(float(values[best]))}
            cells["best at"] = place(s, best)
        rows.append(cells)
    return wide(rows)


def variability(summaries: Sequence[Summary], counts: bool) -> str:
    """Variability of each subject: relative, in the study's unit, and for spike counts against the mean."""
    rows = []
    for s in summaries:
        relative, absolute = over_time(s.variability), over_time(np.sqrt(s.found.trial))
        cells: dict[str, Any] = {"subject": s.recording.subject, "variability": three(mean(relative))}
        cells["middle 80 % of channels"] = span(relative, (10, 90), three)
        cells["in the study's unit"] = f"{mean(absolute):.4g}" if np.isfinite(absolute).any() else "none"
        if counts:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(s.found.mean > 0, s.found.trial / s.found.mean, np.nan)
            cells["variance / mean, median"] = two(middle(ratio))
        rows.append(cells)
    return wide(rows)


def over_time(values: np.ndarray) -> np.ndarray:
    """Mean over time of each channel; NaN where it has no value at some time."""
    return values.mean(axis=1)


def middle(values: np.ndarray) -> float:
    """Median over channels of the mean over time, of the channels that have values."""
    channels = over_time(values)
    return float(np.nanmedian(channels)) if np.isfinite(channels).any() else float("nan")


def mean(channels: np.ndarray) -> float:
    """Mean over the channels that have a value."""
    return float(np.nanmean(channels)) if np.isfinite(channels).any() else float("nan")


def span(channels: np.ndarray, percentiles: tuple[float, float] = (0, 100), text: Any = None) -> str:
    """Two percentiles over the channels that have a value."""
    if not np.isfinite(channels).any():
        return "none"
    return " to ".join(map(text or two, np.nanpercentile(channels, percentiles)))


def place(summary: Summary, index: Sequence[Any]) -> str:
    """Channel and time at an index, in words."""
    channel, time = summary.recording.channel_names[index[0]], summary.times[index[1]]
    if summary.n_times == 1:
        return channel
    return f"{channel}, {1000 * time:.0f} ms" if summary.in_seconds else f"{channel}, sample {time:g}"


def two(value: float) -> str:
    """Two digits, or none."""
    return f"{value:.2f}" if np.isfinite(value) else "none"


def three(value: float) -> str:
    """Three digits, or none."""
    return f"{value:.3f}" if np.isfinite(value) else "none"
