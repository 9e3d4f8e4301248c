"""Train models and evaluate them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ubp.class_features import CLASS_FEATURES
from ubp.commands.images import build_store, make_encoder
from ubp.config import BRAVL, Common, TrainOptions, preset
from ubp.data.study import Study
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.evaluate_runs import Evaluation, StoreFor
from ubp.experiment import CHECKPOINT, NO_LOG, check_shape
from ubp.experiment import train as train_one
from ubp.grid.jobs import Machines, train_on
from ubp.grid.machines import HERE
from ubp.images.blur_options import Foveation
from ubp.images.encoders import ImageEncoder
from ubp.images.features import FeatureStore, default_root
from ubp.images.levels import stored_levels
from ubp.job import Job
from ubp.logging import TrainingLog, open_loggers
from ubp.methods import METHODS, method, method_preset
from ubp.model import DESCRIPTION, Description
from ubp.progress import console, progress, say
from ubp.results import Results, find_runs
from ubp.tables import comparison_table, method_table, n_way_table, subject_table, summary_table
from ubp.trainer import BaseTrainer


def train(
    path: Path,
    *,
    out: Path = Path("runs"),
    encoder: str = "gabor",
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
    options: TrainOptions | None = None,
    changes: Mapping[str, Any] | None = None,
    checkpoint_every: float = 20.0,
    loggers: Sequence[str] = (),
    log_to: str | None = None,
    common: Common = Common(),
) -> list[Path]:
    """Train a model for every preset or method, subject and seed; returns the models' folders.

    Presets are trained with `options`, methods with their own, and `changes` go over both. With neither named, the
    preset `ubp` is trained. `loggers` and `log_to` are those of :func:`ubp.logging.open_loggers`.
    """
    log = open_loggers(loggers, log_to, out)
    study = Study.open(path, common.allow_shared_concepts)
    tower = make_encoder(encoder, common) if foveation.in_degrees else None
    jobs = plan_jobs(
        study,
        encoder,
        presets,
        methods,
        width,
        step,
        subjects,
        setting,
        seeds,
        channels,
        window,
        text,
        foveation,
        tower.size if tower else None,
        options,
        changes,
    )
    textless = [job.preset.name for job in jobs if job.options.kind == BRAVL and job.text is None]
    if textless:
        say(f"{textless[0]} learns from brain and image features alone, because no text features are given (--text).")
    folders = train_jobs(study, jobs, out, checkpoint_every, common, tower, log=log)
    say(f"{len(folders)} models in {out}; `ubp evaluate {out}` ranks the test images.")
    return folders


def plan_jobs(
    study: Study,
    encoder: str = "gabor",
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
    """What :func:`train` trains, checked before anything is computed: a job for every subject, method and seed.

    `image_size` is that of the encoder's input in pixels, which a foveation in degrees needs.
    """
    changes = dict(changes or {})
    own = replace(options or TrainOptions(), **changes)
    if presets is None:
        presets = () if methods else ("ubp",)
    blurs = (width, step, foveation, image_size)
    chosen = [(preset(name, *blurs), own) for name in presets]
    chosen += [(method_preset(name, *blurs), method(name).train_options(setting, **changes)) for name in methods]
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
    for job in {(job.subject, job.options.brain_encoder): job for job in jobs}.values():
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


def evaluate(
    runs: Path,
    *,
    study: Path | None = None,
    encoder: str | None = None,
    repetitions: int | None = None,
    average: bool = True,
    n_way: Sequence[int] = (),
    k: int = 5,
    ridge: bool = True,
    class_features: bool = False,
    text: Path | None = None,
    common: Common = Common(),
) -> Results:
    """Evaluate every model below a folder, print the tables, and write them beside the runs.

    With `class_features` they are written to the folder `class-features` there, so that the two protocols stay apart.
    """
    if text and not class_features:
        raise InputError("Text features take part in class features only; add --class-features or leave --text out.")
    results = evaluate_models(
        finished_runs(runs),
        Path(runs),
        study=study,
        encoder=encoder,
        repetitions=repetitions,
        average=average,
        n_way=n_way,
        k=k,
        ridge=ridge,
        class_features=class_features,
        text=text,
        common=common,
    )
    place = Path(runs, CLASS_FEATURES) if class_features else Path(runs)
    results.save(place)
    print_results(results)
    say(f"Written to {place}: results.csv, summary.csv, comparisons.csv.")
    return results


def finished_runs(runs: Path) -> list[Path]:
    """Folders of finished models below `runs`; says how many are not finished."""
    folders = find_runs(runs)
    unfinished = sum(not (path.parent / DESCRIPTION).exists() for path in Path(runs).rglob(CHECKPOINT))
    if unfinished:
        say(f"{unfinished} runs below {runs} are not finished and left out; run `ubp train` again to continue them.")
    return folders


def evaluate_models(
    folders: Sequence[Path],
    root: Path,
    *,
    study: Path | None = None,
    encoder: str | None = None,
    repetitions: int | None = None,
    average: bool = True,
    n_way: Sequence[int] = (),
    k: int = 5,
    ridge: bool = True,
    class_features: bool = False,
    text: Path | None = None,
    ranks: Path | None = None,
    common: Common = Common(),
) -> Results:
    """Evaluate models by their folders, all below `root`; prints nothing, and writes the `ranks.csv` of each."""
    evaluation = Evaluation(
        store_finder(encoder, common),
        Study.open(study, common.allow_shared_concepts) if study else None,
        allow_shared_concepts=common.allow_shared_concepts,
        repetitions=repetitions,
        average=average,
        n_way=tuple(n_way),
        k=k,
        ridge=ridge,
        device=str(pick_device(common.device)),
        root=root,
        class_features=class_features,
        text=text,
        ranks=ranks,
    )
    with progress(common.quiet) as bar:
        task = bar.add_task("evaluating", total=len(folders))
        return evaluation.run(folders, lambda what: bar.update(task, description=what, advance=1))


def store_finder(encoder: str | None = None, common: Common = Common()) -> StoreFor:
    """How to get at the feature store of a model: the one it was trained with if it is there, else it is built."""

    def store_for(study: Study, about: Description) -> FeatureStore:
        ladder = stored_levels([about.preset.base])
        folder = (common.store or default_root()) / about.store_key
        if (folder / "manifest.json").exists():
            found = FeatureStore.open(folder)
            if all(level.name in found.levels for level in ladder):
                return found
        found = build_store(study, encoder or about.vision_encoder, ladder, common)
        if found.key != about.store_key:
            raise InputError(
                f"The images of {study.root} or the encoder {encoder or about.vision_encoder} are not those "
                f"the model of {about.subject} was trained with; restore them, or train again."
            )
        return found

    return store_for


def print_methods() -> None:
    """Print the table of methods and, for each, its citation and what is done differently here."""
    console.print(method_table())
    for name, about in METHODS.items():
        say(f"\n{name}: {about.citation}. Images by {about.vision_encoder}.")
        for option, value in about.inter_subject.items():
            say(f"  - Inter-subject, {option} is {value:g}.")
        for sentence in about.differs:
            say(f"  - {sentence}")


def print_results(results: Results) -> None:
    """Print the summary, the accuracy by subject and the paired differences of every setting."""
    summary, comparisons = results.summary(), results.comparisons()
    for setting in dict.fromkeys(summary["setting"]):
        console.print(summary_table(summary, setting))
        ways = n_way_table(summary, setting)
        if ways:
            console.print(ways)
        if results.table["subject"].nunique() > 1:
            console.print(subject_table(results.table, setting))
        if len(comparisons):
            console.print(comparison_table(comparisons, setting))
