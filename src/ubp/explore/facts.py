"""What a model is and how well it does, as lines to read."""

from dataclasses import asdict
from typing import Any

import numpy as np

from ubp.data.study import Study
from ubp.description import Description
from ubp.evaluate import INDUCTIVE, UNLABELLED, Protocol, Ranking, score
from ubp.explore.answers import Answered
from ubp.explore.sources import EACH, Source
from ubp.images.blur import Blur
from ubp.presets import Preset

PURPOSES = (
    "for pairs that fit very well",
    "where every pair starts, and the level of the gallery",
    "for pairs that fit badly",
)
ALONE = ("of training, and of the gallery",)
TRANSDUCTIVE = "transductive"
EXPLAINED = {
    INDUCTIVE: "every query is ranked alone, nothing is fitted on the test trials",
    UNLABELLED: "every query is ranked alone, nothing is fitted on the test trials; the signals are aligned by "
    "training trials of {subject}, without their images",
    TRANSDUCTIVE: "the signals are aligned by these trials, without their images, so a query's ranks depend on the "
    "others",
}
"""What each kind of protocol means."""


def settings(about: Description) -> list[tuple[str, str]]:
    """How a model was trained, as pairs of name and value."""
    options = asdict(about.options)
    window = "all" if about.window is None else "{:g} to {:g} s".format(*about.window)
    rate = "no times" if about.sfreq is None else f"{about.n_times} samples at {about.sfreq:g} Hz"
    return [
        ("method", about.method),
        ("setting", about.setting),
        ("subject", about.subject),
        ("trained on", ", ".join(about.trained_on)),
        ("training pairs", f"{about.n_pairs} of {about.n_images} images"),
        ("blur levels", ", ".join(level.name for level in about.preset.ladder)),
        ("brain encoder", str(options["brain_encoder"])),
        ("image encoder", shortened(about.vision_encoder)),
        ("channels", str(len(about.channels))),
        ("window", f"{window}, {rate}"),
        ("epochs", str(options["epochs"])),
        ("batch size", str(options["batch_size"])),
        ("learning rate", f"{options['learning_rate']:g}"),
        ("calibration concepts", str(options["calibration_concepts"] or "none")),
        ("seed", str(about.seed)),
        ("trained with", ", ".join(f"{name} {version}" for name, version in about.versions.items())),
    ]


def marks(preset: Preset) -> list[dict[str, Any]]:
    """Widths of the model's levels of blur, and what each is for; levels on one side of the middle are for the same."""
    less, base, more = PURPOSES if preset.dynamic else ALONE * 3
    side = len(preset.ladder) // 2
    purposes = [less] * side + [base] + [more] * side
    found: dict[int, dict[str, None]] = {}
    for level, purpose in zip(preset.ladder, purposes, strict=True):
        if isinstance(level, Blur):
            found.setdefault(level.width, {})[purpose] = None
    return [{"width": width, "purpose": ", ".join(found[width])} for width in sorted(found)]


def study_notes(about: Description, study: Study) -> list[str]:
    """What holds for everything that is shown of a study."""
    people = sorted({about.subject, *about.trained_on})
    if set(people) <= set(study.subjects) and study.fingerprint(people) == about.study_fingerprint:
        return []
    return [
        f"{study.info.name} is not the study that the model was trained on ({about.study}): whether its test images "
        "were part of the training is not known."
    ]


def shortened(encoder: str) -> str:
    """An encoder's specification without the folders of a local file."""
    kind, colon, rest = encoder.partition(":")
    return f"{kind}{colon}{rest.rsplit('/', 1)[-1]}" if rest.startswith("/") else encoder


def scores(source: Source, repetitions: str, answered: Answered, k: int) -> dict[str, Any] | None:
    """Top-1 and top-k with intervals and chance, and the protocol; None where nobody knows what was seen.

    They are those of `ubp evaluate`, over the queries whose image is in the gallery.

    Parameters
    ----------
    source : Source
    repetitions : str
    answered : Answered
    k : int
        At most as many as the gallery has.
    """
    known = np.flatnonzero(answered.target >= 0)
    if not len(known):
        return None
    found, level = answered.found, source.retriever.model.description.preset.base.name
    images = tuple(answered.queries.images[row] for row in known)
    ranking = Ranking(images, found.gallery, found.similarity[known], found.repetitions[known])
    k = min(k, len(found.gallery))
    row = score(ranking, Protocol(level, average=repetitions != EACH, k=k))
    accuracies = [
        {"name": f"top-{n}", **{part: row[f"top{n}{suffix}"] for part, suffix in _PARTS.items()}}
        for n in dict.fromkeys((1, k))
    ]
    return {"accuracies": accuracies, "queries": len(known), "distinct_images": len(set(images))}


_PARTS = {"value": "", "low": "_low", "high": "_high", "chance": "_chance"}


def _kind(source: Source) -> str:
    """What the model knows of whose trials these are, in the words of `ubp evaluate`."""
    about = source.retriever.model.description
    if source.alignment is not None:
        return TRANSDUCTIVE
    own = source.given.subject in (None, about.subject)
    return UNLABELLED if own and about.uses_unlabelled else INDUCTIVE


def protocol(source: Source, answered: Answered) -> str:
    """In one line: what was ranked, among what, and how."""
    found = answered.found
    about = source.retriever.model.description
    low, high = int(found.repetitions.min()), int(found.repetitions.max())
    if high == 1:
        query = "single trials"
    else:
        query = f"means of {low} repetitions" if low == high else f"means of {low} to {high} repetitions"
    kind = _kind(source)
    whose = f"test trials of {source.title}" if source.from_study else f"your recording {source.title}"
    return (
        f"{len(answered.queries.names)} queries ({query}, {whose}) among {len(found.gallery)} test images at level "
        f"{about.preset.base.name}; {kind}: {EXPLAINED[kind].format(subject=about.subject)}."
    )
