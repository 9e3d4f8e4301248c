"""What a job trains on: its trials, split and scaled, the images of each, and those that choose the epoch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ubp.data.study import Study, Trials
from ubp.errors import InputError
from ubp.held_out import HeldOut, split_training
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.pairs import Gallery, Pairs, channel_scale
from ubp.randomness import derive_seed
from ubp.text import TextFeatures


@dataclass(frozen=True)
class TrainingData:
    """The training trials of a job, which jobs that differ in seed, blur or brain encoder share.

    Parameters
    ----------
    trials : Trials
        Without the validation concepts; their signals are scaled.
    scale : (Tensor, Tensor)
        Mean and deviation per channel; 0 and 1 when the options ask for no scaling.
    validation : Trials, optional
        Trials of the validation concepts, not scaled.
    calibration : HeldOut, optional
        What the confidence will be calibrated on.
    """

    trials: Trials
    scale: tuple[torch.Tensor, torch.Tensor]
    validation: Trials | None = None
    calibration: HeldOut | None = None

    @classmethod
    def load(cls, study: Study, job: Job) -> "TrainingData":
        """Read the training trials of a job and scale them."""
        parts = split_training(job.trials(study, "train"), job.options)
        scale = scale_signals(parts.training, job.options.standardise)
        return cls(parts.training, scale, parts.validation, parts.calibration)

    @staticmethod
    def key(job: Job) -> tuple[Any, ...]:
        """What decides them, within one study."""
        options = job.options
        selection = job.setting, job.subject, job.channels, job.window
        split = options.validation_concepts, options.calibration_concepts, options.average_training
        return *selection, *split, options.standardise


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
    store: FeatureStore,
    job: Job,
    signals: torch.Tensor | None = None,
    text: TextFeatures | None = None,
) -> Pairs:
    """The signals (by default the trials' own), the image row of each, and the ladder and text of those images."""
    images, rows = np.unique(np.array(trials.images), return_inverse=True)
    concepts, concept = np.unique(np.array(trials.concepts), return_inverse=True)
    if job.options.shuffle_pairs:
        order = np.random.default_rng(derive_seed("shuffle", job.seed)).permutation(len(rows))
        rows, concept = rows[order], concept[order]
    ladder = store.ladder(job.preset.ladder, [str(image) for image in images])
    subject = subject_numbers(trials, trials)
    signals = torch.from_numpy(trials.signals) if signals is None else signals
    number = torch.from_numpy(concept.astype(np.int64))
    words = None if text is None else torch.from_numpy(text.select(map(str, concepts)))
    return Pairs(signals, torch.from_numpy(rows.astype(np.int64)), ladder, subject, trials.sfreq, number, words)


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
    store: FeatureStore,
    job: Job,
    scale: tuple[torch.Tensor, torch.Tensor],
    training: Trials,
) -> Gallery:
    """Validation trials as queries among their own images."""
    images, target = np.unique(np.array(trials.images), return_inverse=True)
    vision = store.vectors(job.preset.base, [str(image) for image in images])
    signals = (torch.from_numpy(trials.signals) - scale[0]) / scale[1]
    return Gallery(signals, target, vision, subject_numbers(trials, training))
