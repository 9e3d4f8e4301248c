"""Training concepts held out: those that choose the epoch, and those that the confidence is calibrated on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ubp.config import TrainOptions
from ubp.data.selection import Selection
from ubp.data.split import check_taken_out, draw_concepts, validation_split
from ubp.data.study import Recording, Study, Trials

VALIDATION_SEED = 0
CALIBRATION_SEED = 1
TEMPERATURE_SEED = 2
SUBJECT_SEED = 3


@dataclass(frozen=True)
class HeldOut:
    """What the confidence of a model is calibrated on; no concept is in both groups, and none was trained on.

    Parameters
    ----------
    temperature, calibration : tuple of (subject, image)
        One image of each concept, and one subject who saw it: they fit the temperature, and the sets.
    reference : tuple of (image, concept)
        Every image of the concepts that fit the temperature.
    """

    temperature: tuple[tuple[str, str], ...]
    calibration: tuple[tuple[str, str], ...]
    reference: tuple[tuple[str, str], ...]

    @property
    def reference_images(self) -> tuple[str, ...]:
        """Images of `reference`."""
        return tuple(image for image, _ in self.reference)


@dataclass(frozen=True)
class TrainingParts:
    """What becomes of the training split.

    Parameters
    ----------
    training : Trials
        What the model is fitted to.
    validation : Trials, optional
        Chooses the epoch.
    calibration : HeldOut, optional
    """

    training: Trials
    validation: Trials | None = None
    calibration: HeldOut | None = None


def split_training(trials: Trials, options: TrainOptions) -> TrainingParts:
    """Hold out the concepts that the options ask for; the choice depends on the set of concepts alone.

    The temperature is fitted on the validation concepts; without these, on a third of the calibration concepts.

    Raises
    ------
    InputError
        When too few concepts are left on either side.
    """
    everything, validation = trials, None
    if options.validation_concepts:
        trials, validation = validation_split(trials, options.validation_concepts, seed=VALIDATION_SEED)
    if not options.calibration_concepts:
        return TrainingParts(trials, validation)
    trials, calibration = validation_split(
        trials, options.calibration_concepts, seed=CALIBRATION_SEED, purpose="calibration"
    )
    temperature = validation
    if temperature is None:
        third = round(options.calibration_concepts / 3)
        calibration, temperature = validation_split(calibration, third, seed=TEMPERATURE_SEED)
    concepts = set(temperature.concepts)
    shown = dict(zip(everything.images, everything.concepts, strict=True))
    reference = tuple(sorted((image, concept) for image, concept in shown.items() if concept in concepts))
    return TrainingParts(trials, validation, HeldOut(_one_each(temperature), _one_each(calibration), reference))


def calibration_concepts(concepts: Iterable[str], options: TrainOptions) -> set[str]:
    """Concepts that the options take out of training beside those that choose the epoch, of all training concepts.

    Raises
    ------
    InputError
        When too few concepts are left on either side.
    """
    left = _not_validated(concepts, options)
    check_taken_out(options.calibration_concepts, len(left), "calibration")
    return draw_concepts(left, options.calibration_concepts, CALIBRATION_SEED)


def fitted_concepts(concepts: Iterable[str], options: TrainOptions) -> set[str]:
    """Concepts that the model is fitted to, of all training concepts: those of `split_training(...).training`.

    Raises
    ------
    InputError
        When too few concepts are left on either side.
    """
    left = _not_validated(concepts, options)
    return left - calibration_concepts(concepts, options) if options.calibration_concepts else left


def _not_validated(concepts: Iterable[str], options: TrainOptions) -> set[str]:
    left = set(concepts)
    if not options.validation_concepts:
        return left
    check_taken_out(options.validation_concepts, len(left))
    return left - draw_concepts(left, options.validation_concepts, VALIDATION_SEED)


def _one_each(trials: Trials) -> tuple[tuple[str, str], ...]:
    """One (subject, image) of every concept, by chance where several subjects saw it, so that rows are independent."""
    rows: dict[str, list[int]] = {}
    for row, concept in enumerate(trials.concepts):
        rows.setdefault(concept, []).append(row)
    random = np.random.default_rng(SUBJECT_SEED)
    chosen = [rows[concept][random.integers(len(rows[concept]))] for concept in sorted(rows)]
    return tuple((trials.subjects[row], trials.images[row]) for row in chosen)


def held_trials(
    study: Study, held: HeldOut, channels: Sequence[str], window: tuple[float, float] | None
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Signals of the held-out queries, averaged over 1, 2, 4, ... repetitions, and over all there are.

    Returns
    -------
    temperature, calibration : dict of int to array of shape (n, n_channels, n_times)
        By repetitions averaged, in the order of `held`. The last key, the fewest repetitions that an image has, holds
        the means of all.
    """
    pairs = (*held.temperature, *held.calibration)
    single = {
        subject: single_trials(
            study.recording(subject), [image for who, image in pairs if who == subject], channels, window
        )
        for subject in sorted({who for who, _ in pairs})
    }
    fewest = min(int(trials.averaged().repetitions.min()) for trials in single.values())
    found: tuple[dict[int, np.ndarray], dict[int, np.ndarray]] = ({}, {})
    for count in [*(2**power for power in range(fewest.bit_length()) if 2**power < fewest), fewest]:
        means = {
            (subject, image): signals
            for subject, trials in single.items()
            for averaged in [trials.averaged() if count == fewest else trials.mean_of_some(count)]
            for image, signals in zip(averaged.images, averaged.signals, strict=True)
        }
        for part, wanted in zip(found, (held.temperature, held.calibration), strict=True):
            part[count] = np.stack([means[pair] for pair in wanted])
    return found


def single_trials(
    recording: Recording, images: Sequence[str], channels: Sequence[str] | None, window: tuple[float, float] | None
) -> Trials:
    """Every training trial of some images."""
    plan = recording.select("train", channels, window, average=False)
    rows = plan.rows[recording.trials["image"].iloc[plan.rows].isin(images).to_numpy()]
    return recording.read(Selection(rows, np.arange(len(rows)), rows, plan.region))
