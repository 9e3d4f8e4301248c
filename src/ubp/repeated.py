"""Options of training that act where an image was shown more than once, refused where none was."""

from collections.abc import Iterable

import pandas as pd

from ubp.config import TrainOptions
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.held_out import fitted_concepts
from ubp.job import Job


def check_repeated(options: TrainOptions, subjects: Iterable[str], images: Iterable[str]) -> None:
    """Refuse options that would do nothing, because no training image was shown often enough.

    Parameters
    ----------
    options : TrainOptions
    subjects, images : iterable of str
        Of each training trial, or of each mean of them where the options draw no repetitions.

    Raises
    ------
    InputError
        When repetitions are to be drawn or mixed and no subject saw an image twice, or all signals of an image are to
        match it and none has two.
    """
    if not _matters(options):
        return
    shown = pd.DataFrame({"subject": list(subjects), "image": list(images)})
    people = shown["subject"].unique()
    whose = people[0] if len(people) == 1 else f"any of the {len(people)} training subjects"
    if options.draws_repetitions and not shown.duplicated().any():
        given, what = ("augment has mixup", "mix") if options.mixes_repetitions else ("repetitions is 'subset'", "draw")
        raise InputError(
            f"{given} and no training image was shown to {whose} more than once, so that there is no other repetition "
            f"to {what}; leave it out."
        )
    signals = shown.drop_duplicates() if options.average_training else shown
    if options.positives == "image" and not signals["image"].duplicated().any():
        raise InputError(
            f"positives is 'image' and no two training signals of {whose} show the same image, so that each matches "
            "its own alone; train on single trials of repeated images (--no-average-training) or on several subjects "
            "who saw the same ones, or leave it out."
        )


def check_shown(study: Study, job: Job) -> None:
    """Do what :func:`check_repeated` does with the trials that a job would train on; no signal is read.

    Raises
    ------
    InputError
        As there, or when too few concepts are left for training.
    """
    if not _matters(job.options):
        return
    tables = [table.assign(subject=subject) for subject, table in job.training_tables(study).items()]
    table = pd.concat(tables).query("split == 'train'")
    table = table[table["concept"].isin(fitted_concepts(table["concept"], job.options))]
    check_repeated(job.options, table["subject"], table["image"])


def _matters(options: TrainOptions) -> bool:
    return options.draws_repetitions or options.positives == "image"
