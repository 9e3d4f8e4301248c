"""Train models and evaluate them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from ubp.commands.images import build_store, make_encoder
from ubp.config import BRAVL, Common, TrainOptions
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.experiment import NO_LOG, check_shape
from ubp.experiment import train as train_one
from ubp.grid.jobs import Machines, train_on
from ubp.grid.machines import HERE
from ubp.images.blur_options import Foveation
from ubp.images.encoders import ImageEncoder
from ubp.job import Job
from ubp.logging import TrainingLog, open_loggers
from ubp.methods import METHODS, method, method_preset
from ubp.presets import preset
from ubp.progress import console, counted, progress, say
from ubp.tables import method_table
from ubp.trainer import BaseTrainer

LITTLE = "gabor"  # needs no weights


class Wanted(TypedDict, total=False):
    """What is to be trained, as :func:`~ubp.commands.training.plan_jobs` takes it."""

    encoder: str
    presets: Sequence[str] | None
    methods: Sequence[str]
    width: int
    step: int
    subjects: Sequence[str] | None
    setting: str
    seeds: Sequence[int]
    channels: Sequence[str] | None
    window: tuple[float, float] | None
    text: Path | None
    foveation: Foveation
    options: TrainOptions | None
    changes: Mapping[str, Any] | None


def train(
    path: Path,
    *,
    out: Path = Path("runs"),
    checkpoint_every: float = 20.0,
    loggers: Sequence[str] = (),
    log_to: str | None = None,
    common: Common = Common(),
    **wanted: Unpack[Wanted],
) -> list[Path]:
    """Train a model for every preset or method, subject and seed; returns the models' folders.

    `wanted` is as in :func:`~ubp.commands.training.plan_jobs`; `loggers` and `log_to` are those of
    :func:`ubp.logging.open_loggers`.
    """
    log = open_loggers(loggers, log_to, out)
    study = Study.open(path, common.allow_shared_concepts)
    in_degrees = wanted.get("foveation", Foveation()).in_degrees
    tower = make_encoder(wanted.get("encoder", LITTLE), common) if in_degrees else None
    jobs = plan_jobs(study, **wanted, image_size=tower.size if tower else None)
    textless = [job.preset.name for job in jobs if job.options.kind == BRAVL and job.text is None]
    if textless:
        say(f"{textless[0]} learns from brain and image features alone, because no text features are given (--text).")
    folders = train_jobs(study, jobs, out, checkpoint_every, common, tower, log=log)
    say(f"{counted(len(folders), 'model')} in {out}; `ubp evaluate {out}` ranks the test images.")
    return folders


def plan_jobs(
    study: Study,
    *,
    encoder: str = LITTLE,
    presets: Sequence[str] | None = None,
    methods: Sequence[str] = (),
    width: int = 51,
    step: int = 6,
    subjects: Sequence[str] | None = None,
    setting: str = "intra-subject",
    seeds: Sequence[int] = (0,),
    channels: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
    text: Path | None = None,
    foveation: Foveation = Foveation(),
    image_size: int | None = None,
    options: TrainOptions | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[Job]:
    """What :func:`~ubp.commands.training.train` trains, checked before anything is computed.

    It is a job for every subject, method and seed. Presets are trained with `options`, methods with their own, and
    `changes` go over both. With neither named, the preset `ubp` is trained. `image_size` is that of the encoder's input
    in pixels, which a foveation in degrees needs.
    """
    changes = dict(changes or {})
    if presets is None:
        presets = () if methods else ("ubp",)
    blurs = (width, step, foveation, image_size)
    chosen = [(preset(name, *blurs), replace(options or TrainOptions(), **changes)) for name in presets]
    chosen += [
        (method_preset(name, *blurs), method(name).train_options(setting, encoder, **changes)) for name in methods
    ]
    names = [blur.name for blur, _ in chosen]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name!r} is asked for {names.count(name)} times, as preset or method; name it once.")
    for name in subjects or ():
        study.recording(name)
    picked = tuple(channels) if channels else None
    with_text = [blur.name for blur, options in chosen if options.kind == BRAVL]
    if text and not with_text:
        raise InputError(f"None of {', '.join(names)} learns from text; leave --text out, or train the method bravl.")
    jobs = [
        Job(subject, blur, options, seed, encoder, setting, picked, window, text if options.kind == BRAVL else None)
        for subject, (blur, options), seed in itertools.product(subjects or study.subjects, chosen, seeds)
    ]
    for job in {(job.subject, job.options): job for job in jobs}.values():
        check_shape(study, job)
    return jobs


def train_jobs(
    study: Study,
    jobs: Sequence[Job],
    out: Path,
    checkpoint_every: float = 20.0,
    common: Common = Common(),
    tower: ImageEncoder | None = None,
    machines: Machines | None = None,
    log: TrainingLog = NO_LOG,
) -> list[Path]:
    """Train the models of jobs that share an image encoder, each below `out`, on Ray where `machines` says so.

    Trainings on Ray are not logged.
    """
    where = pick_device(common.device)
    levels = [level for job in jobs for level in job.preset.ladder]
    vectors = build_store(study, jobs[0].vision_encoder, levels, common, tower=tower)
    folders = []
    with progress(common.quiet) as bar:
        task = bar.add_task("training", total=sum(job.options.epochs for job in jobs))

        def after_epoch(trainer: BaseTrainer) -> None:
            bar.update(task, completed=finished + trainer.epoch)

        finished = 0
        if machines and machines.address != HERE:

            def ended(job: Job) -> None:
                bar.update(task, advance=job.options.epochs)

            if train_on(
                machines,
                study,
                vectors,
                jobs,
                out,
                device=common.device,
                allow_shared_concepts=common.allow_shared_concepts,
                checkpoint_every=checkpoint_every,
                finished=ended,
            ):
                return [out / job.folder for job in jobs]
        for job in jobs:
            bar.update(task, description=f"{job.subject} {job.preset.name} seed {job.seed}")
            folders.append(train_one(study, vectors, job, out, where, checkpoint_every, after_epoch, log=log))
            finished += job.options.epochs
            bar.update(task, completed=finished)
    return folders


def print_methods() -> None:
    """Print the table of methods and, for each, its citation and what is done differently here."""
    console.print(method_table())
    for name, about in METHODS.items():
        say(f"\n{name}: {about.citation}. Images by {about.vision_encoder}.")
        for option, value in about.inter_subject.items():
            say(f"  - Inter-subject, {option} is {value:g}.")
        for sentence in about.differs:
            say(f"  - {sentence}")
