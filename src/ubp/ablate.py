"""Ablations of a study: which models they need, and the scores of every part, subject and seed."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ubp.ablation import Part, Queries, Way, summarise
from ubp.data.split import shared_channels
from ubp.data.study import Study
from ubp.files import digest
from ubp.held_out import calibration_concepts, single_trials
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.measures import Measure
from ubp.model import Model

EVERYTHING = Part("everything")
VALIDATION, TEST = "validation", "test"
SPLITS = {VALIDATION: "held-out training concepts", TEST: "test images"}


@dataclass(frozen=True)
class Ablation:
    """Parts of one kind, judged in one way.

    Parameters
    ----------
    parts : sequence of Part
    by : str
        Name of the way.
    way : Way
    jobs : sequence of Job
        One a subject and seed, of all channels and samples that take part.
    kind : {"window", "channel", "region"}
    """

    parts: Sequence[Part]
    by: str
    way: Way
    jobs: Sequence[Job]
    kind: str

    def label(self, metric: str) -> str:
        """What the scores are, for people."""
        return self.way.label.format(metric=metric, part=self.kind)

    def models(self) -> Iterator[tuple[Part, Job, Path]]:
        """Every model that is needed: its part, its job, and the folder of its runs below that of all models."""
        for job in self.jobs:
            if self.way.loss or not self.way.trains:
                yield EVERYTHING, job, Path("everything")
            for part in self.parts if self.way.trains else ():
                yield part, part_job(job, part, self.way.trains), part_folder(part, self.way.trains)


def part_folder(part: Part, trains: str) -> Path:
    """Folder of the models of a part, whatever its name holds."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", part.name)[:40]
    return Path(f"{trains}-{readable}-{digest(part.name, *part.channels, str(part.window))[:8]}")


def part_job(job: Job, part: Part, trains: str) -> Job:
    """The job of a model that is trained on a part alone, or without its channels."""
    assert job.channels is not None
    if part.window is not None:
        return replace(job, window=part.window)
    keep = [name for name in job.channels if (name in part.channels) == (trains == "alone")]
    return replace(job, channels=tuple(keep))


@dataclass(frozen=True)
class Source:
    """Where held-out queries come from.

    Parameters
    ----------
    study : Study
    vectors : FeatureStore
    split : {"validation", "test"}
        Training concepts that no model saw and no epoch was chosen by, or the test images.
    """

    study: Study
    vectors: FeatureStore
    split: str = VALIDATION

    def images(self, job: Job) -> tuple[str, ...]:
        """Images that are queries: one of each concept held out, of those that the job's subject saw."""
        recording = self.study.recording(job.subject)
        if self.split == TEST:
            return recording.images("test")
        held = calibration_concepts(training_concepts(self.study, job.subject, job.setting), job.options)
        table = recording.trials[(recording.trials["split"] == "train") & recording.trials["concept"].isin(held)]
        return tuple(table.sort_values("image").drop_duplicates("concept")["image"])

    def queries(self, job: Job) -> Queries:
        """Means of all repetitions of these images, with the channels and samples of a job."""
        images = self.images(job)
        if self.split == TEST:
            trials = job.trials(self.study, "test")
        else:
            channels = job.channels
            if channels is None and job.setting == "inter-subject":
                channels = shared_channels(self.study, None, job.window)
            trials = single_trials(self.study.recording(job.subject), images, channels, job.window).averaged()
        return Queries(trials, self.vectors.vectors(job.preset.base, trials.images))


def training_concepts(study: Study, subject: str, setting: str) -> set[str]:
    """Concepts of the trials that are trained on to decode a subject, before any is held out."""
    own = setting == "intra-subject"
    tables = [one.trials for name, one in study.recordings.items() if (name == subject) == own]
    return {concept for table in tables for concept in table.loc[table["split"] == "train", "concept"]}


@dataclass(frozen=True)
class Scored:
    """Scores of all parts.

    Parameters
    ----------
    summary : DataFrame
        One row a part: its name, channels or start and stop (s), score with interval, and the reference.
    runs : DataFrame
        One row a part, subject and seed.
    """

    summary: pd.DataFrame
    runs: pd.DataFrame


def score_parts(
    ablation: Ablation,
    source: Source,
    models: Path,
    measure: Measure,
    repeats: int = 10,
    device: str = "cpu",
    after: Callable[[], None] = lambda: None,
) -> Scored:
    """Score every part from models that are trained.

    Where the way is a loss, a part's score is that of the model of everything minus that without the part, image by
    image, so that the interval is one of paired differences.

    Parameters
    ----------
    ablation : Ablation
    source : Source
    models : Path
        Folder of all models.
    measure : Measure
    repeats : int
        Permutations that are averaged over.
    device : str
    after : callable
        Called after every part of every subject and seed.
    """
    found: dict[str, dict[str, list[pd.Series]]] = {part.name: {} for part in ablation.parts}
    rows: list[dict[str, Any]] = []
    whole: dict[str, list[float]] = {}
    for job in ablation.jobs:
        everything = full = None
        if ablation.way.loss:
            everything = Model.load(models / "everything" / job.folder, device)
            queries = source.queries(job)
            full = queries.score(everything, measure)
            whole.setdefault(job.subject, []).append(float(full.mean()))
        for part in ablation.parts:
            if ablation.way.trains:
                own = part_job(job, part, ablation.way.trains)
                model = Model.load(models / part_folder(part, ablation.way.trains) / own.folder, device)
                reached = source.queries(own).score(model, measure)
            else:
                assert everything is not None
                reached = queries.changed(everything, measure, part, ablation.by, repeats)
            values = reached if full is None else full - reached
            found[part.name].setdefault(job.subject, []).append(values)
            row = {"part": part.name, "subject": job.subject, "seed": job.seed, "score": float(values.mean())}
            if full is not None:
                row |= {"with_everything": float(full.mean()), "without": float(reached.mean())}
            rows.append(row | {"images": len(values)})
            after()
    summary = []
    for part in ablation.parts:
        score, low, high = summarise(found[part.name])
        where = (
            {"channels": "; ".join(part.channels)}
            if part.window is None
            else {"start": part.window[0], "stop": part.window[1]}
        )
        summary.append({"part": part.name, **where, "score": score, "low": low, "high": high})
    table = pd.DataFrame(summary)
    sizes = [len(series) for seeds in next(iter(found.values())).values() for series in seeds[:1]]
    table["reference"] = 0.0 if ablation.way.loss else float(pd.Series(sizes).map(measure.by_chance).mean())
    if whole:
        table["with_everything"] = float(pd.Series({who: sum(s) / len(s) for who, s in whole.items()}).mean())
    about: dict[str, Any] = {
        "by": ablation.by,
        "metric": measure.name,
        "split": source.split,
        "gallery_size": "/".join(sorted({str(size) for size in sizes})),
        "subjects": len(sizes),
        "seeds": len({job.seed for job in ablation.jobs}),
    }
    return Scored(table.assign(**about), pd.DataFrame(rows).assign(**about))
