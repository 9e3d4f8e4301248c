"""What one process does with its share of a grid: train, evaluate, write a record for each cell."""

import contextlib
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ubp import __version__
from ubp.data.study import Study, Trials
from ubp.device import pick_device
from ubp.errors import InputError, UbpError
from ubp.evaluate import larger_k
from ubp.evaluate_runs import Evaluation
from ubp.experiment import Fit, begin, train
from ubp.files import locked, write_text
from ubp.fit import Pairs
from ubp.grid.cell import Cell
from ubp.grid.factors import SINGLE
from ubp.grid.record import Record, read_record
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.progress import say
from ubp.train_together import train_together
from ubp.training_data import TrainingData, image_pairs

FAILURE = "failure.txt"
TEST_TRIALS_KEPT = 4

Unit = tuple[Cell, ...]
"""Cells that one process runs in one go: those of one model, or of models that are trained together."""


@dataclass(frozen=True)
class Site:
    """Where a grid is worked on; the same for every process.

    Parameters
    ----------
    study : Path
    out : Path
        Folder of the grid.
    stores : tuple of (str, Path)
        Vision encoders and the folders of their feature stores.
    fingerprints : tuple of (tuple of str, str)
        Subjects and the fingerprint of their recordings, as the process that asks sees them.
    device : str
    threads : int, optional
        Of torch; by default as they are.
    checkpoint_every : float
    allow_shared_concepts : bool
    version : str
    """

    study: Path
    out: Path
    stores: tuple[tuple[str, Path], ...]
    fingerprints: tuple[tuple[tuple[str, ...], str], ...]
    device: str
    threads: int | None = None
    checkpoint_every: float = 20.0
    allow_shared_concepts: bool = False
    version: str = __version__


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its record, or one sentence about its failure."""

    key: str
    record: Record | None = None
    failure: str | None = None


class Workshop:
    """A process's view of a grid; keeps what neighbouring cells share.

    Parameters
    ----------
    site : Site

    Raises
    ------
    InputError
        When this process runs another version of ubp, or its study cannot be opened.
    """

    def __init__(self, site: Site) -> None:
        if site.version != __version__:
            raise InputError(
                f"A machine of the cluster has ubp {__version__}, not {site.version}; install one version everywhere."
            )
        self.site = site
        self.device = pick_device(site.device)
        self.study = Study.open(site.study, site.allow_shared_concepts)
        self.fingerprints, stores = dict(site.fingerprints), dict(site.stores)
        self.store = lru_cache(lambda encoder: FeatureStore.open(stores[encoder]))
        self._data: tuple[Any, TrainingData] | None = None
        self._tests: dict[Any, Trials] = {}
        self._trained: set[Path] = set()

    def run(self, unit: Unit) -> list[Outcome]:
        """Finish all cells of a unit; a cell that fails does not stop the others."""
        with contextlib.ExitStack() as locks, threads(self.site.threads):
            # a worker whose driver died may still be at it
            for folder in sorted({self.site.out / cell.folder for cell in unit}):
                locks.enter_context(locked(folder / ".lock"))
            records = {cell.key: read_record(self.site.out, cell) for cell in unit}
            left = [cell for cell in unit if records[cell.key] is None]
            seconds = self._fit_stack(left)
            done = [Outcome(key, record) for key, record in records.items() if record is not None]
            return done + [self._finish(cell, seconds.pop(cell.folder, 0.0)) for cell in left]

    def training_data(self, study: Study, job: Job) -> TrainingData:
        """The training data of a job; the last one's are kept."""
        key = TrainingData.key(job)
        if self._data is None or self._data[0] != key:
            self._data = None  # before the next is read, so that memory holds one
            self._data = key, TrainingData.load(study, job)
        return self._data[1]

    def test_trials(self, cell: Cell) -> Trials:
        """The test trials of a cell; the last few cells' are kept."""
        job = cell.job
        key = job.subject, job.setting, job.channels, job.window, cell.average
        if key not in self._tests:
            while len(self._tests) >= TEST_TRIALS_KEPT:
                del self._tests[next(iter(self._tests))]
            averaging = {"average": cell.average != SINGLE, "repetitions": cell.repetitions}
            self._tests[key] = job.trials(self.study, "test", **averaging)
        return self._tests[key]

    def _fit_stack(self, cells: Sequence[Cell]) -> dict[Path, float]:
        """Train the models of several cells together; seconds of each. What fails is left to be trained alone."""
        jobs = {cell.folder: cell.job for cell in cells if not cell.is_ridge}
        if len(jobs) < 2:
            return {}
        start = time.perf_counter()
        try:
            fits = list(self._begun(jobs))
            train_together(fits, self.site.checkpoint_every)
            self._trained.update(jobs)
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            say(f"{len(jobs)} models are trained one by one, as together they failed: {type(error).__name__}: {first}")
        return dict.fromkeys(jobs, (time.perf_counter() - start) / len(jobs))

    def _begun(self, jobs: Mapping[Path, Job]) -> Iterator[Fit]:
        """Trainings of several jobs; those that read the same trials share them on the device."""
        data: dict[Any, TrainingData] = {}
        pairs: dict[Any, Pairs] = {}
        for folder, job in jobs.items():
            trials = TrainingData.key(job)
            if trials not in data:
                data[trials] = TrainingData.load(self.study, job)
            shuffled = job.seed if job.options.shuffle_pairs else None
            images = trials, job.vision_encoder, job.preset.ladder, shuffled
            if images not in pairs:
                shared = next((mine.signals for (other, *_), mine in pairs.items() if other == trials), None)
                made = image_pairs(data[trials].trials, self.store(job.vision_encoder), job, shared)
                kind = torch.bfloat16 if job.options.precision == "bf16" else torch.float32
                pairs[images] = made.to(self.device, kind)
            place = self.site.out / folder
            store = self.store(job.vision_encoder)
            fit = begin(self.study, store, job, place, self.device, data[trials], pairs[images])
            if fit is not None:
                yield fit

    def _finish(self, cell: Cell, seconds: float) -> Outcome:
        folder = self.site.out / cell.record
        start = time.perf_counter()
        try:
            metrics = self._score(cell)
            record = Record(
                cell=cell.key,
                study=self.study.info.name,
                fingerprint=self.study.fingerprint(cell.needs(self.study)),
                store=self.store(cell.job.vision_encoder).key,
                device=self.device.type,
                seconds=round(seconds + time.perf_counter() - start, 3),
                variant=cell.variant,
                factors=cell.factors,
                metrics=metrics,
                run=cell.folder.as_posix(),
            )
            if record.fingerprint != self.fingerprints[cell.needs(self.study)]:
                raise InputError(
                    f"The study {self.study.root} on a machine of the cluster is another one than here; give all "
                    "machines the same folder."
                )
            record.save(folder)
            (folder / FAILURE).unlink(missing_ok=True)
            return Outcome(cell.key, record)
        except UbpError as error:
            return Outcome(cell.key, failure=str(error))
        except Exception as error:
            first = str(error).strip().splitlines()[:1] or [""]
            with contextlib.suppress(Exception):
                write_text(folder / FAILURE, traceback.format_exc())
            return Outcome(cell.key, failure=f"{type(error).__name__}: {first[0]} (see {folder / FAILURE})")

    def _score(self, cell: Cell) -> dict[str, Any]:
        job, out = cell.job, self.site.out
        store = self.store(job.vision_encoder)
        evaluation = Evaluation(
            lambda study, about: store,
            self.study,
            repetitions=cell.repetitions,
            average=cell.average != SINGLE,
            k=larger_k(self.study),
            ridge=False,
            device=str(self.device),
            root=out,
        )
        if cell.is_ridge:
            test = self.test_trials(cell)
            decoder = evaluation.ridge_decoder(self.study, store, job, test)
        else:
            if cell.folder not in self._trained:
                every, runs = self.site.checkpoint_every, out / cell.root
                train(self.study, store, job, runs, self.device, every, load=self.training_data)
                self._trained.add(cell.folder)
            test = self.test_trials(cell)
            ((study, same),) = evaluation.groups([out / cell.folder])
            decoder = next(evaluation.decoders(study, same, test))
        row, _ = evaluation.rank(decoder, test, out / cell.record)
        n_channels = {"n_channels": decoder.row["channels"]}
        return n_channels | {name: value for name, value in row.items() if name not in decoder.row}


@contextlib.contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch use so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
