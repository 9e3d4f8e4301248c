"""Which parts of a study's signals are ablated, checked before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ubp.ablate import SPLITS, TEST, Ablation, Source, training_concepts
from ubp.ablation import PERMUTE, WAYS, Part, regions, sliding_windows
from ubp.config import FEWEST_CALIBRATION
from ubp.data.split import common_channels
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.experiment import check_shape
from ubp.held_out import calibration_concepts
from ubp.job import Job
from ubp.measures import Measure
from ubp.progress import say

WIDTH, STEP = 0.1, 0.05
MOST_HELD = 200


@dataclass(frozen=True)
class Asked:
    """What is to be ablated, and how.

    Parameters
    ----------
    time_windows : sequence of float
        Width in seconds, and perhaps step; none for no windows.
    windows_by : str
        A key of `WINDOW_WAYS`.
    channels : str, optional
        A key of `WAYS`; None for no channels.
    by_region : bool
        Regions of the 10-10 names in the place of channels.
    """

    time_windows: Sequence[float] | None = None
    windows_by: str = "alone"
    channels: str | None = None
    by_region: bool = False

    @property
    def everything(self) -> bool:
        """Whether neither was named, so that both are done as far as the recording allows."""
        return self.time_windows is None and self.channels is None


def all_channels(study: Study, subjects: Sequence[str], setting: str) -> tuple[str, ...]:
    """Channels of all subjects that are trained or tested on."""
    if len(subjects) == 1 and setting == "intra-subject":
        return study.recording(subjects[0]).channel_names
    return common_channels(study)


def held_out(
    study: Study, split: str, changes: dict[str, Any], subjects: Sequence[str], setting: str
) -> dict[str, Any]:
    """Options with the number of training concepts that are held out as queries, where they are not given."""
    if split == TEST or changes.get("calibration_concepts"):
        return changes
    counts = [len(training_concepts(study, who, setting)) for who in subjects]
    return changes | {"calibration_concepts": max(FEWEST_CALIBRATION, min(MOST_HELD, min(counts) // 5))}


def plan(study: Study, jobs: Sequence[Job], asked: Asked) -> dict[str, Ablation]:
    """What is ablated, checked before anything is computed.

    Raises
    ------
    InputError
        When there are no times, one channel only, or a model cannot be trained on a part.
    """
    ablations = {}
    if asked.time_windows is not None or asked.everything:
        try:
            parts = window_parts(study, jobs, asked.time_windows or ())
            ablations["windows"] = Ablation(parts, asked.windows_by, WAYS[asked.windows_by], jobs, "window")
        except InputError as error:
            if not asked.everything:
                raise
            say(f"No windows of time: {error}")
    if asked.channels is not None or asked.everything:
        channels = jobs[0].channels or ()
        by = asked.channels or PERMUTE
        parts = regions(channels) if asked.by_region else [Part(name, (name,)) for name in channels]
        if len(parts) < 2:
            raise InputError(f"The only channel is {parts[0].name}; expected two or more to compare.")
        ablations["channels"] = Ablation(parts, by, WAYS[by], jobs, "region" if asked.by_region else "channel")
    for one in ablations.values():
        for _, job, _ in one.models():
            check_shape(study, job)
            if job.options.calibration_concepts:
                calibration_concepts(training_concepts(study, job.subject, job.setting), job.options)
    return ablations


def window_parts(study: Study, jobs: Sequence[Job], time_windows: Sequence[float]) -> list[Part]:
    """Sliding windows over the samples that every job has."""
    sfreq, tmin = study.info.sfreq, study.info.tmin
    if sfreq is None or tmin is None:
        raise InputError(
            f"{study.root / 'dataset.json'} has no sfreq and tmin, so its samples are not times; ablate channels alone."
        )
    if len(time_windows) > 2:
        raise InputError(f"{len(time_windows)} numbers were given for the time windows; expected a width and a step.")
    width = time_windows[0] if time_windows else WIDTH
    step = time_windows[1] if len(time_windows) > 1 else (STEP if not time_windows else width / 2)
    regions_of = [study.recording(job.subject).select("train", job.channels, job.window).region for job in jobs]
    first, n_times = max(one.start for one in regions_of), min(one.n_times for one in regions_of)
    return sliding_windows(n_times, sfreq, tmin + first / sfreq, width, step)


def check_gallery(source: Source, jobs: Sequence[Job], chosen: Measure) -> None:
    """Refuse a metric or a gallery that no ranking is possible with."""
    for job in jobs:
        size = len(source.images(job))
        if size < 2:
            raise InputError(
                f"{job.subject} saw {size} of the {SPLITS[source.split]}; expected at least 2 images to rank."
            )
        chosen.score(np.ones(1), size)
