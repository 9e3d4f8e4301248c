"""Trained runs ranked on the test trials of their subjects, with ridge regression beside them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ubp.class_features import CLASS_FEATURES, class_gallery, class_similarity
from ubp.config import TrainOptions
from ubp.data.study import Study, Trials
from ubp.description import Description
from ubp.errors import InputError
from ubp.evaluate import INDUCTIVE, UNLABELLED, Decoder, Protocol, Ranking, save_ranking, score
from ubp.images.features import FeatureStore
from ubp.images.levels import Level
from ubp.job import Job
from ubp.metrics import cosine_similarity
from ubp.model import Model
from ubp.presets import preset
from ubp.results import RIDGE, Results, collect
from ubp.ridge import RidgeBaseline

OWN_COLUMN = ("brain_encoder", "epochs", "batch_size", "learning_rate", "precision", "shuffle_pairs")
StoreFor = Callable[[Study, Description], FeatureStore]


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate and how.

    Parameters
    ----------
    store_for : callable
        Gives the feature store of a study and a model's description.
    study : Study, optional
        Where the models' study lies now; by default the place they were trained from.
    allow_shared_concepts : bool
        See :meth:`ubp.data.study.Study.open`.
    repetitions : int, optional
        Test repetitions averaged per query (a seeded choice); all by default.
    average : bool
        False ranks single trials.
    n_way : tuple of int
    k : int
    ridge : bool
        Add the ridge baseline for every subject and setting.
    device : str
    root : Path, optional
        Folder of all runs: runs are named relative to it, and the ridge baseline's `ranks.csv` is written below it.
    class_features : bool
        Rank the test concepts by features of their classes, see :mod:`ubp.class_features`, not the test images; the
        `ranks.csv` are written below a folder of their own.
    text : Path, optional
        Where the models' text features lie now, for class features; by default where they were in training.
    ranks : Path, optional
        Folder where every run's `ranks.csv` goes, under the run's name, instead of to the run itself.
    """

    store_for: StoreFor
    study: Study | None = None
    allow_shared_concepts: bool = False
    repetitions: int | None = None
    average: bool = True
    n_way: tuple[int, ...] = ()
    k: int = 5
    ridge: bool = True
    device: str = "cpu"
    root: Path | None = None
    class_features: bool = False
    text: Path | None = None
    ranks: Path | None = None

    def run(self, folders: Iterable[Path], after_run: Callable[[str], None] | None = None) -> Results:
        """Evaluate the models, each on the test trials of its subject, and write their `ranks.csv`."""
        found: list[tuple[dict[str, Any], Ranking]] = []
        for study, same in self.groups(folders):
            test = Job.of(same[0][1]).trials(study, "test", average=self.average, repetitions=self.repetitions)
            for decoder in self.decoders(study, same, test):
                folder = self.ranks / decoder.row["run"] if self.ranks else decoder.folder
                found.append(self.rank(decoder, test, folder))
                if after_run and decoder.row["method"] != RIDGE:
                    after_run("{subject} {method} seed {seed}".format(**decoder.row))
        return collect(found)

    def rank(self, decoder: Decoder, test: Trials, folder: Path | None = None) -> tuple[dict[str, Any], Ranking]:
        """Row and ranking of one decoder; with a folder its `ranks.csv` is written there."""
        ranking = decoder.rank(test)
        if folder:
            save_ranking(ranking, folder)
        return decoder.row | score(ranking, self._protocol(decoder)), ranking

    def groups(self, folders: Iterable[Path]) -> Iterator[tuple[Study, list[tuple[Path, Description]]]]:
        """Models that share their test trials and their images' vectors, and the study these come from."""
        runs = [(folder, Description.read(folder)) for folder in folders]
        for _, group in groupby(sorted(runs, key=_place), key=_place):
            same = list(group)
            yield self._study(same[0][1]), same

    def decoders(self, study: Study, same: list[tuple[Path, Description]], test: Trials) -> Iterator[Decoder]:
        """The ridge baseline, if it is wanted, and the models of one of :meth:`groups`, loaded one by one."""
        if self.ridge:
            # crisp images are no bank to learn a mixture of
            options = replace(same[0][1].options, mixture="mean")
            about = replace(same[0][1], preset=preset("vanilla"), options=options)
            yield self.ridge_decoder(study, self.store_for(study, about), Job.of(about), test)
        for folder, about in same:
            model = Model.load(folder, self.device)
            run = folder.relative_to(self.root) if self.root else Job.of(about).folder
            vision, names = self._gallery(self.store_for(study, about), test, about.preset.base)
            yield Decoder(
                row_of(about.study, about.method, Job.of(about), len(about.channels), run),
                model.embed,
                model.embed_images(vision),
                names,
                about.preset.base.name,
                self._written_below(run) if self.class_features else folder,
                class_similarity(model, vision, names, self.text) if self.class_features else cosine_similarity,
                self.class_features,
                UNLABELLED if about.uses_unlabelled else INDUCTIVE,
            )

    def _written_below(self, run: Path) -> Path | None:
        if self.root is None:
            return None
        return self.root / CLASS_FEATURES / run if self.class_features else self.root / run

    def _gallery(self, store: FeatureStore, test: Trials, level: Level) -> tuple[np.ndarray, tuple[str, ...]]:
        return class_gallery(store, test, level) if self.class_features else gallery(store, test, level)

    def _study(self, about: Description) -> Study:
        study = self.study or Study.open(about.study_folder(), self.allow_shared_concepts)
        if study.fingerprint(sorted({about.subject, *about.trained_on})) != about.study_fingerprint:
            raise InputError(
                f"The study {study.root} is not the one the model of {about.subject} was trained on "
                f"({about.study!r}); give the right folder with --study."
            )
        return study

    def _protocol(self, decoder: Decoder) -> Protocol:
        kind = f"{decoder.protocol}, class features" if self.class_features else decoder.protocol
        return Protocol(decoder.gallery_level, self.repetitions, self.average, kind, self.n_way, self.k)

    def ridge_decoder(self, study: Study, store: FeatureStore, job: Job, test: Trials) -> Decoder:
        """Ridge regression on the training trials of a job, to the crisp images of the store."""
        crisp = preset("vanilla").base
        train = job.trials(study, "train", average=job.options.average_training)
        baseline = RidgeBaseline().fit(train.signals, store.vectors(crisp, train.images), train.concepts)
        vision, names = self._gallery(store, test, crisp)
        run = Path(job.setting, job.subject, RIDGE, "seed-0")
        row = row_of(study.info.name, RIDGE, job, len(train.channels), run)
        vision, folder = baseline.centre(vision), self._written_below(run)
        return Decoder(row, baseline.predict, vision, names, crisp.name, folder, by_concept=self.class_features)


def row_of(study: str, method: str, job: Job, n_channels: int, run: Path) -> dict[str, Any]:
    """What names a run in a table of results; ridge regression has no options of training."""
    options = None if method == RIDGE else job.options
    return {
        "study": study,
        "setting": job.setting,
        "subject": job.subject,
        "method": method,
        "brain_encoder": options.brain_encoder if options else method,
        "vision_encoder": job.vision_encoder,
        "seed": job.seed if options else 0,
        "channels": n_channels,
        "window": "all" if job.window is None else "{:g} to {:g} s".format(*job.window),
        "epochs": options.epochs if options else None,
        "batch_size": options.batch_size if options else None,
        "learning_rate": options.learning_rate if options else None,
        "precision": options.precision if options else None,
        "levels": "/".join(level.name for level in job.preset.ladder),
        "options": further_options(options) if options else None,
        "run": run.as_posix(),
    }


def further_options(options: TrainOptions) -> str:
    """Options of training that are not at their defaults and have no column of their own in a table of results."""
    changed = []
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name not in OWN_COLUMN and value != field.default:
            changed.append(f"{field.name}={'+'.join(value) if isinstance(value, tuple) else value}")
    return " ".join(changed) or "default"


def gallery(store: FeatureStore, test: Trials, level: Level) -> tuple[np.ndarray, tuple[str, ...]]:
    """Embeddings and names of the distinct test images at a level."""
    images = tuple(sorted(set(test.images)))
    return store.vectors(level, images), images


def _place(run: tuple[Path, Description]) -> tuple[str, ...]:
    """Which test trials a model needs, and which images' vectors."""
    about = run[1]
    parts = about.setting, about.subject, about.channels, about.window, about.store_key, about.study_path
    return tuple(map(str, parts))
