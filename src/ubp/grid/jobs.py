"""Models of many jobs trained as tasks of a Ray cluster; what `experiment.train` does for one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ubp import __version__
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError, UbpError
from ubp.experiment import train
from ubp.files import locked
from ubp.grid.machines import HERE, check_resources, machines, slots_for, threads_of
from ubp.grid.on_ray import ended, failure
from ubp.grid.work import threads
from ubp.images.features import FeatureStore
from ubp.job import Job


@dataclass(frozen=True)
class Machines:
    """Where models are trained.

    Parameters
    ----------
    address : str
        here (this process), local (Ray on this machine), auto, or HOST:PORT of a Ray cluster, whose machines see the
        same folders at the same paths.
    cpus : float, optional
        Cores of one model on Ray, and threads of torch; 1 by default.
    gpus : float, optional
        GPUs of one model on Ray, or a part of one; by default 1 where the device is cuda.
    """

    address: str = HERE
    cpus: float | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        check_resources(self.cpus, self.gpus)


@dataclass(frozen=True)
class Place:
    """What every task is told.

    Parameters
    ----------
    study, store, out : Path
        Folders of the study, of the feature store and of all runs.
    device : str
    threads : int, optional
    checkpoint_every : float
    allow_shared_concepts : bool
    version : str
    """

    study: Path
    store: Path
    out: Path
    device: str
    threads: int | None
    checkpoint_every: float
    allow_shared_concepts: bool
    version: str = __version__


def train_on(
    where: Machines,
    study: Study,
    store: FeatureStore,
    jobs: Sequence[Job],
    out: Path,
    *,
    device: str | None = None,
    allow_shared_concepts: bool = False,
    checkpoint_every: float = 20.0,
    started: Callable[[Job], None] = lambda job: None,
    finished: Callable[[Job], None] = lambda job: None,
) -> bool:
    """Train the models of jobs on Ray; False, and nothing done, where that means this process.

    Raises
    ------
    InputError
        When no Ray answers, or no machine of it has what a model asks for.
    UbpError
        When models failed; the others are finished and in `out`.
    """
    with machines(where.address) as ray:
        if ray is None:
            return False
        device = device or ("cuda" if where.gpus else pick_device().type)
        gpus = (1.0 if device == "cuda" else 0.0) if where.gpus is None else where.gpus
        cpus = where.cpus or 1
        slots_for(ray, cpus, gpus)
        place = Place(
            study.root.absolute(),
            store.folder.absolute(),
            Path(out).absolute(),
            device,
            threads_of(where.cpus, True),
            checkpoint_every,
            allow_shared_concepts,
        )
        failures: dict[Path, str] = {}
        for job, task in ended(ray, train_here, place, jobs, cpus, gpus, started):
            try:
                ray.get(task)
            except ray.exceptions.RayError as error:
                failures[job.folder] = failure(ray, error)
            finished(job)
    if failures:
        folder, sentence = next(iter(failures.items()))
        raise UbpError(
            f"{len(failures)} of {len(jobs)} models failed, the first one, {folder}, with: {sentence.rstrip('.')}; the "
            f"others are in {out}, run the same command to try again."
        )
    return True


def train_here(place: Place, job: Job) -> None:
    """The task."""
    if place.version != __version__:
        raise InputError(
            f"A machine of the cluster has ubp {__version__}, not {place.version}; install one version everywhere."
        )
    study = Study.open(place.study, place.allow_shared_concepts)
    # a worker whose driver died may still be at it
    with locked(place.out / job.folder / ".lock"), threads(place.threads):
        train(study, FeatureStore.open(place.store), job, place.out, pick_device(place.device), place.checkpoint_every)
