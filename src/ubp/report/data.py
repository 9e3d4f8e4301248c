"""The data behind the runs: study, trials, channels, and what the training trials evoke."""

from collections.abc import Sequence
from typing import Any

from ubp.data.recording import Recording
from ubp.data.study import Study
from ubp.described import plain
from ubp.errors import InputError
from ubp.look import sections, tables
from ubp.look.summary import summarise
from ubp.page.html import folded, heading, note, paragraphs, wide
from ubp.page.study_card import about
from ubp.report.runs import Run
from ubp.report.studies import Studies, absent, without_place

MOST_SUBJECTS = 3
SIGNALS = (
    "The signals are those of training trials, of all channels in the file, before what the models select and scale; "
    "no test trial was read. `ubp look` shows more."
)


def data(runs: Sequence[Run], studies: Studies) -> str:
    """The studies of the runs that are at hand, each with the subjects of its runs."""
    parts: list[str] = []
    missing: dict[str, str] = {}
    subjects: dict[int, tuple[Study, set[str]]] = {}
    for run in runs:
        study = studies.of(run)
        if study is None:
            missing.setdefault(run.about.study, absent(run))
            continue
        subjects.setdefault(id(study), (study, set()))[1].update((run.about.subject, *run.about.trained_on))
    for sentence in missing.values():
        parts.append(note(sentence))
    for study, names in subjects.values():
        try:
            parts.append(_study(study, sorted(names)))
        except InputError as error:
            parts.append(note(f"The signals are left out: {without_place(error, study)}"))
    return "".join(parts) + paragraphs(_used(runs))


def _study(study: Study, subjects: Sequence[str]) -> str:
    shown = [name for name in subjects if (study.recording(name).trials["split"] == "train").any()][:MOST_SUBJECTS]
    left_out = len(subjects) - len(shown)
    summaries = [summarise(study.recording(name), with_halves=False) for name in shown]
    channels = [{"subject": name, **_channels(study.recording(name))} for name in subjects]
    more = f"Signals of {', '.join(shown)}; {left_out} more subjects are left out." if left_out else ""
    return (
        heading(study.info.name)
        + about(study, subjects)
        + heading("Trials")
        + tables.trials(study, subjects)
        + heading("Channels")
        + (
            wide(channels)
            if len(channels) <= MOST_SUBJECTS
            else folded(f"Channels of each subject ({len(channels)})", wide(channels))
        )
        + heading("Evoked responses and topographies of training trials")
        + paragraphs(SIGNALS, more)
        + sections.responses(summaries)
        + sections.topographies(summaries)
    )


def _channels(recording: Recording) -> dict[str, Any]:
    types = recording.channels["type"].value_counts(sort=False)
    return {
        "channels": len(recording.channels),
        "types": ", ".join(f"{count} {kind}" for kind, count in types.items()),
        "names": _some(recording.channel_names),
    }


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:6])} … {', '.join(names[-3:])}"


def _used(runs: Sequence[Run]) -> str:
    """Channels and window that the models use, once for all that use the same."""
    used: dict[str, list[str]] = {}
    for run in runs:
        one = run.about
        window = "all samples" if one.window is None else "{:g} to {:g} s".format(*one.window)
        rate = "without a rate" if one.sfreq is None else f"at {plain(one.sfreq)} Hz"
        text = f"{len(one.channels)} channels ({_some(one.channels)}), {window}: {one.n_times} samples {rate}"
        labels = used.setdefault(text, [])
        if run.label not in labels:
            labels.append(run.label)
    return " ".join(f"Used by {', '.join(labels)}: {text}." for text, labels in used.items())
