"""What a study cannot serve, found before anything is computed."""

from collections.abc import Sequence

from ubp.data.split import check_taken_out, shared_channels
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.experiment import check_shape
from ubp.grid.cell import Cell
from ubp.grid.factors import SINGLE
from ubp.job import Job


def check_cells(study: Study, cells: Sequence[Cell]) -> None:
    """Refuse cells that the study cannot serve.

    Raises
    ------
    InputError
        With the sentence of the first such cell.
    """
    seen = set()
    for cell in cells:
        job = cell.job
        options = job.options
        held_out = options.validation_concepts, options.calibration_concepts
        selection = job.subject, job.setting, job.channels, job.window, options.averages_once
        signals = options.augment, options.alignment, options.repetitions, options.average_training, options.positives
        for what, check in (
            ((*selection, cell.average), _check_trials),
            ((job.subject, job.setting, *held_out, cell.is_ridge), _check_concepts),
            (
                (*selection, *signals, *held_out, "ridge" if cell.is_ridge else options.brain_encoder, job.text),
                _check_encoder,
            ),
        ):
            if (check, what) not in seen:
                seen.add((check, what))
                check(study, cell)


def training_shape(study: Study, job: Job) -> tuple[int, int, int]:
    """Shape of the training signals of a job, validation concepts included: (n_pairs, n_channels, n_times)."""
    channels = _channels(study, job)
    plans = [
        study.recording(subject).select("train", channels, job.window, average=job.options.averages_once)
        for subject in training_subjects(study, job)
    ]
    return sum(plan.shape[0] for plan in plans), *plans[0].shape[1:]


def training_subjects(study: Study, job: Job) -> list[str]:
    """Whose training trials a job reads."""
    if job.setting == "intra-subject":
        return [job.subject]
    return [subject for subject in study.subjects if subject != job.subject]


def _channels(study: Study, job: Job) -> tuple[str, ...] | None:
    return shared_channels(study, job.channels, job.window) if job.setting == "inter-subject" else job.channels


def _check_trials(study: Study, cell: Cell) -> None:
    job = cell.job
    training_shape(study, job)
    plan = study.recording(job.subject).select(
        "test", _channels(study, job), job.window, cell.average != SINGLE, cell.repetitions
    )
    images = study.recording(job.subject).trials["image"].iloc[plan.first].nunique()
    if images < 2:
        raise InputError(f"The gallery of {job.subject} has {images} image; ranking needs at least 2 test images.")


def _check_encoder(study: Study, cell: Cell) -> None:
    if not cell.is_ridge:
        check_shape(study, cell.job)


def _check_concepts(study: Study, cell: Cell) -> None:
    options = cell.job.options
    found: set[str] = set()
    for subject in training_subjects(study, cell.job):
        table = study.recording(subject).trials
        found |= set(table.loc[table["split"] == "train", "concept"])
    if cell.is_ridge and len(found) < 2:
        raise InputError(
            f"{cell.job.subject} has {len(found)} training concept; ridge regression needs 2, leave it out."
        )
    left = len(found)
    for purpose, number in (("validation", options.validation_concepts), ("calibration", options.calibration_concepts)):
        if number:
            check_taken_out(number, left, purpose, f" of {cell.job.subject}")
            left -= number
