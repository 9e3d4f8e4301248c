"""What a job trains on: its trials, split and scaled, the images of each, and those that choose the epoch."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch

from ubp.align import MOST_TRIALS, Alignment, align_rows, fit_alignment
from ubp.config import SETTINGS
from ubp.data.selection import Selection
from ubp.data.study import Study, Trials
from ubp.errors import InputError
from ubp.held_out import HeldOut, split_training
from ubp.images.levels import Level
from ubp.job import Job
from ubp.pairs import Gallery, Pairs, channel_scale
from ubp.randomness import derive_seed
from ubp.repeated import check_repeated
from ubp.text import TextFeatures


class ImageVectors(Protocol):
    """Where unit vectors of images come from: a :class:`ubp.images.features.FeatureStore`, or arrays."""

    def ladder(self, levels: Sequence[Level], images: Sequence[str] | None = None) -> torch.Tensor:
        """Vectors at several levels, float32 of shape (n_levels, n_images, embed_dim)."""

    def vectors(self, level: Level, images: Sequence[str] | None = None) -> np.ndarray:
        """Vectors at one level, float32 of shape (n_images, embed_dim)."""


@dataclass(frozen=True)
class TrainingData:
    """The training trials of a job, which jobs that differ in seed, blur or brain encoder share.

    Parameters
    ----------
    trials : Trials
        Without the validation concepts; their signals are aligned and scaled.
    scale : (Tensor, Tensor)
        Mean and deviation per channel; 0 and 1 when the options ask for no scaling.
    validation : Trials, optional
        Trials of the validation concepts, neither aligned nor scaled.
    calibration : HeldOut, optional
        What the confidence will be calibrated on.
    alignment : mapping of str to Alignment
        Of each training subject and the one the model is for; empty when the options ask for none.
    """

    trials: Trials
    scale: tuple[torch.Tensor, torch.Tensor]
    validation: Trials | None = None
    calibration: HeldOut | None = None
    alignment: Mapping[str, Alignment] = field(default_factory=dict)

    @classmethod
    def load(cls, study: Study, job: Job) -> "TrainingData":
        """Read the training trials of a job, align and scale them."""
        everything = job.trials(study, "train")
        parts = split_training(everything, job.options)
        held = set(everything.concepts) - set(parts.training.concepts)
        del everything
        training, alignment = parts.training, {}
        if job.options.alignment != "none":
            alignment = fit_alignments(study, job, training, held)
            align_rows(torch.from_numpy(training.signals), np.array(training.subjects), alignment)
        scale = scale_signals(training, job.options.standardise)
        return cls(training, scale, parts.validation, parts.calibration, alignment)

    @staticmethod
    def key(job: Job) -> tuple[Any, ...]:
        """What decides them, and the rows of their pairs, within one study."""
        options = job.options
        selection = job.setting, job.subject, job.channels, job.window
        split = options.validation_concepts, options.calibration_concepts
        rows = options.average_training, options.repetitions, options.draws_repetitions
        return *selection, *split, *rows, options.standardise, options.alignment


def fit_alignments(study: Study, job: Job, training: Trials, held: Collection[str]) -> dict[str, Alignment]:
    """Alignments of the training subjects and of the one the model is for, each from single trials of its own.

    They are of the training split, at most `MOST_TRIALS` chosen at random, and of no concept in `held`; which images
    they showed is not looked at.
    """
    found = {}
    for subject in sorted({job.subject, *training.subjects}):
        recording = study.recording(subject)
        plan = recording.select("train", training.channels, job.window, average=False)
        rows = plan.rows[~recording.trials["concept"].iloc[plan.rows].isin(held).to_numpy()]
        if not len(rows):
            raise InputError(
                f"All concepts that {subject} saw were taken out of training; choose fewer validation concepts."
            )
        random = np.random.default_rng(derive_seed("align", subject))
        rows = np.sort(random.permutation(rows)[:MOST_TRIALS])
        trials = recording.read(Selection(rows, np.arange(len(rows)), rows, plan.region))
        found[subject] = fit_alignment(job.options.alignment, trials.signals)
    return found


def scale_signals(trials: Trials, standardise: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale the trials' own array in place to mean 0 and deviation 1 per channel, if asked to; gives both figures."""
    signals = torch.from_numpy(trials.signals)
    if not standardise:
        n_channels = signals.shape[1]
        return torch.zeros(n_channels, 1), torch.ones(n_channels, 1)
    scale = channel_scale(signals)
    signals.sub_(scale[0]).div_(scale[1])
    return scale


def image_pairs(
    trials: Trials,
    store: ImageVectors,
    job: Job,
    signals: torch.Tensor | None = None,
    text: TextFeatures | None = None,
) -> Pairs:
    """The signals (by default the trials' own), the image row of each, and the ladder and text of those images.

    Where repetitions are to be drawn, the rows of those of each pair as well.

    Raises
    ------
    InputError
        When an option needs images that were shown more than once, and none was.
    """
    check_repeated(job.options, trials.subjects, trials.images)
    signals = torch.from_numpy(trials.signals) if signals is None else signals
    pair: np.ndarray = np.arange(len(trials))
    repetitions = None
    if job.options.draws_repetitions:
        group, by_image = repetition_rows(trials)
        if job.options.repetitions == "subset":
            # a pair is an image of a subject
            pair, repetitions = by_image[:, 0], torch.from_numpy(by_image)
        else:
            repetitions = torch.from_numpy(by_image[group])
    images, rows = np.unique(np.array(trials.images)[pair], return_inverse=True)
    concepts, concept = np.unique(np.array(trials.concepts)[pair], return_inverse=True)
    if job.options.shuffle_pairs:
        order = np.random.default_rng(derive_seed("shuffle", job.seed)).permutation(len(rows))
        rows, concept = rows[order], concept[order]
    ladder = store.ladder(job.preset.ladder, [str(image) for image in images])
    subject = subject_numbers(trials, trials)[pair]
    image = torch.from_numpy(rows.astype(np.int64))
    number = torch.from_numpy(concept.astype(np.int64))
    words = None if text is None else torch.from_numpy(text.select(map(str, concepts)))
    return Pairs(signals, image, ladder, subject, trials.sfreq, number, words, repetitions)


def repetition_rows(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Which rows show one image to one subject.

    Returns
    -------
    group : int array of shape (n_trials,)
        Number of each row's image and subject, by first appearance.
    rows : int64 array of shape (n_groups, most)
        Rows of each group, increasing, and -1 past the last.
    """
    group = pd.factorize(pd.MultiIndex.from_arrays([trials.subjects, trials.images]))[0]
    count = np.bincount(group)
    rows = np.full((len(count), count.max()), -1)
    order = np.argsort(group, kind="stable")
    place = np.arange(len(group)) - np.repeat(count.cumsum() - count, count)
    rows[group[order], place] = order
    return group, rows


def subject_numbers(trials: Trials, training: Trials) -> torch.Tensor:
    """Place of each trial's subject among the sorted training subjects, as in `Description.trained_on`."""
    number = {subject: place for place, subject in enumerate(sorted(set(training.subjects)))}
    for subject in trials.subjects:
        if subject not in number:
            raise InputError(
                f"All concepts that {subject} saw were taken out for validation; choose fewer validation concepts."
            )
    return torch.tensor([number[subject] for subject in trials.subjects])


def validation_gallery(
    trials: Trials,
    store: ImageVectors,
    job: Job,
    scale: tuple[torch.Tensor, torch.Tensor],
    training: Trials,
    alignment: Mapping[str, Alignment] | None = None,
) -> Gallery:
    """Validation trials as queries among their own images.

    A model for a subject that it was not trained on is validated as it will be used: not told whose signals they are.
    """
    images, target = np.unique(np.array(trials.images), return_inverse=True)
    vision = store.vectors(job.preset.base, [str(image) for image in images])
    subject, signals = subject_numbers(trials, training), torch.from_numpy(trials.signals)
    told = subject if job.setting == SETTINGS[0] else None
    if alignment:
        signals = signals.clone()
        align_rows(signals, np.array(trials.subjects), alignment)
    return Gallery((signals - scale[0]) / scale[1], target, vision, told)
