"""Which trials train and which test: within a subject, across subjects, and validation concepts out of train."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ubp.data.study import Study
from ubp.data.trials import Trials
from ubp.errors import InputError


def intra_subject(study: Study, subject: str, split: str, **options: Any) -> Trials:
    """Train or test trials of one subject.

    Parameters
    ----------
    study : Study
        The data.
    subject : str
        Who is trained and tested on.
    split : str
        "train" or "test"; one at a time, so that only an evaluation reads the test trials.
    **options
        Channels, window, average, repetitions and seed of `Recording.load`.

    Raises
    ------
    InputError
        As `Recording.load` does.
    """
    return study.recording(subject).load(split, **options)


def inter_subject(study: Study, held_out: str, split: str, **options: Any) -> Trials:
    """Train trials of all other subjects, or test trials of the subject held out.

    Channels are matched by name, in the order of the study's first subject. Memory holds the result once.

    Parameters
    ----------
    study : Study
        The data.
    held_out : str
        Subject who is tested on and not trained on.
    split : str
        "train" or "test".
    **options
        Channels, window, average, repetitions and seed of `Recording.load`.

    Raises
    ------
    InputError
        When there is no other subject, channels or numbers of samples differ, or as `Recording.load` does.
    """
    held = study.recording(held_out)
    others = [study.recordings[subject] for subject in study.subjects if subject != held_out]
    options["channels"] = shared_channels(study, options.get("channels"), options.get("window"))
    if split == "test":
        return held.load(split, **options)
    plans = [recording.select(split, **options) for recording in others]
    edges = np.cumsum([0, *(plan.shape[0] for plan in plans)])
    signals = np.zeros((edges[-1], *plans[0].shape[1:]), np.float32)
    parts = [
        recording.read(plan, signals[start:stop])
        for recording, plan, start, stop in zip(others, plans, edges[:-1], edges[1:], strict=True)
    ]
    return Trials(
        signals=signals,
        images=tuple(image for part in parts for image in part.images),
        concepts=tuple(concept for part in parts for concept in part.concepts),
        subjects=tuple(subject for part in parts for subject in part.subjects),
        repetitions=np.concatenate([part.repetitions for part in parts]),
        channels=parts[0].channels,
        sfreq=parts[0].sfreq,
        tmin=parts[0].tmin,
    )


def shared_channels(
    study: Study, channels: tuple[str, ...] | None = None, window: tuple[float, float] | None = None
) -> tuple[str, ...]:
    """Channels on which subjects can be trained together; no signal is read.

    Raises
    ------
    InputError
        When there is one subject only, or channels or numbers of samples differ.
    """
    if len(study.subjects) < 2:
        raise InputError(
            f"{study.root} has only the subject {study.subjects[0]}; expected two or more to hold one out."
        )
    names = common_channels(study) if channels is None else channels
    if len({recording.header.shape[2] for recording in study.recordings.values()}) > 1 and not window:
        raise InputError(f"The subjects of {study.root} have different numbers of samples; choose a common window.")
    return names


def common_channels(study: Study) -> tuple[str, ...]:
    """Channel names of the first subject, if all subjects have the same.

    Raises
    ------
    InputError
        When a subject has other channels.
    """
    first, *others = study.recordings.values()
    names = first.channel_names
    for recording in others:
        differing = sorted(set(names) ^ set(recording.channel_names))
        if differing:
            raise InputError(
                f"{recording.subject} and {first.subject} of {study.root} do not have the same channels "
                f"({differing[0]!r} is in one only); name the channels to use, present in every subject."
            )
    return names


def check_taken_out(number: int, n_concepts: int, purpose: str = "validation", whose: str = "") -> None:
    """Refuse to take so many of the training concepts out.

    Raises
    ------
    InputError
        When fewer than 2 concepts remain on either side.
    """
    if not 2 <= number <= n_concepts - 2:
        raise InputError(
            f"{number} of {n_concepts} training concepts{whose} were to be taken out for {purpose}; expected at least "
            "2, and at least 2 left for training."
        )


def draw_concepts(concepts: Iterable[str], number: int, seed: int = 0) -> set[str]:
    """So many of the concepts; the choice depends on the set of concepts and not on their order."""
    names = np.array(sorted(set(concepts)))
    return set(np.random.default_rng(seed).permutation(names)[:number].tolist())


def validation_split(
    trials: Trials,
    n_concepts: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
    one_image_per_concept: bool = True,
    purpose: str = "validation",
) -> tuple[Trials, Trials]:
    """Take concepts out of the training trials for validation; no concept is in both parts.

    Parameters
    ----------
    trials : Trials
        Training trials.
    n_concepts : int, optional
        How many concepts to take out; at least 2.
    fraction : float, optional
        Or which part of the concepts.
    seed : int
        Of the choice, which depends on the set of concepts and not on the order of the rows.
    one_image_per_concept : bool
        Keep the first image of each validation concept only, as in a test gallery of one image per concept.
    purpose : str
        What they are taken out for, to say in an error.

    Returns
    -------
    training : Trials
        Rows of the other concepts, as they are.
    validation : Trials
        One row per image of each subject, repetitions averaged.

    Raises
    ------
    InputError
        When not exactly one of `n_concepts` and `fraction` is given, or fewer than 2 concepts remain on either side.
    """
    concepts = set(trials.concepts)
    if (n_concepts is None) == (fraction is None):
        raise InputError("A validation split needs either a number of concepts or a fraction of them; give one.")
    if fraction is not None and not 0 < fraction < 1:
        raise InputError(f"The validation fraction is {fraction:g}; expected a number between 0 and 1.")
    number = n_concepts if n_concepts is not None else round((fraction or 0) * len(concepts))
    check_taken_out(number, len(concepts), purpose)
    chosen = draw_concepts(concepts, number, seed)
    held = np.array([concept in chosen for concept in trials.concepts])
    rows = np.flatnonzero(held)
    if one_image_per_concept:
        image: dict[str, str] = {}
        for row in rows:
            image.setdefault(trials.concepts[row], trials.images[row])
        rows = rows[[trials.images[row] == image[trials.concepts[row]] for row in rows]]
    return trials.select(~held), trials.select(rows).averaged()
