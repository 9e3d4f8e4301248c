"""From a study and a choice of settings to a trained model in a folder; unfinished runs continue."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ubp.align import Alignment, check_alignment
from ubp.augment import check_augmentations
from ubp.bravl import BraVLTrainer
from ubp.calibration import Calibration, calibration_of
from ubp.config import BRAVL
from ubp.data.split import shared_channels
from ubp.data.study import Study, Trials
from ubp.description import DESCRIPTION, Description
from ubp.encoder import make_encoder
from ubp.errors import InputError
from ubp.files import disk_errors
from ubp.fit import Trainer
from ubp.held_out import HeldOut, held_trials
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.logging.training_log import TrainingLog
from ubp.model import Model
from ubp.pairs import Pairs
from ubp.randomness import seeded
from ubp.repeated import check_shown
from ubp.tensor_files import read_tensors, write_tensors
from ubp.text import TextFeatures
from ubp.trainer import BaseTrainer
from ubp.training_data import TrainingData, image_pairs, validation_gallery

CHECKPOINT = "checkpoint.safetensors"
NO_LOG = TrainingLog()
TRAINERS: dict[str, type[BaseTrainer]] = {"contrastive": Trainer, "bravl": BraVLTrainer}


@dataclass(frozen=True)
class Fit:
    """A training that has begun, perhaps long ago, and the folder that its model goes to."""

    folder: Path
    description: Description
    trainer: BaseTrainer
    scale: tuple[torch.Tensor, torch.Tensor]
    calibrate: Callable[[Model], Calibration] | None = None
    alignment: Mapping[str, Alignment] = field(default_factory=dict)

    def save(self) -> None:
        """Write a checkpoint."""
        tensors, content = self.trainer.state_dict()
        write_tensors(self.folder / CHECKPOINT, tensors, {"identity": self.description.identity(), **content})

    def finish(self) -> Path:
        """Write the model, and remove the checkpoint."""
        trainer = self.trainer
        prior = trainer.prior.state_dict() if trainer.prior else {}
        learned = trainer.final_encoder, self.scale, prior, trainer.temperature
        model = Model(self.description, *learned, trainer.history, self.alignment)
        if self.calibrate:
            self.calibrate(model).save(self.folder)
        model.save(self.folder)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return self.folder


def begin(
    study: Study,
    store: FeatureStore,
    job: Job,
    folder: Path,
    device: torch.device | str = "cpu",
    data: TrainingData | None = None,
    pairs: Pairs | None = None,
) -> Fit | None:
    """Begin a training, or take up the one that was begun in the folder; None when its model is there.

    `data` and `pairs` are what :meth:`TrainingData.load` and :func:`image_pairs` give for the job; by default they are
    made here.

    Raises
    ------
    InputError
        When the folder holds a model or checkpoint of another study or other options.
    """
    data = TrainingData.load(study, job) if data is None else data
    text = TextFeatures.read(job.text) if job.text else None
    pairs = image_pairs(data.trials, store, job, text=text) if pairs is None else pairs
    description = describe(study, store, job, data.trials, pairs, text)
    if (folder / DESCRIPTION).exists():
        if Model.load(folder).description.identity() != description.identity():
            raise InputError(
                f"{folder} holds a model of another study or of other options; choose another folder for the runs "
                "or remove it."
            )
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return None
    gallery = None
    if data.validation:
        gallery = validation_gallery(data.validation, store, job, data.scale, data.trials, data.alignment)
    trainer = TRAINERS[job.options.kind](pairs, job.preset, job.options, job.seed, gallery, device)
    del pairs
    _restore(trainer, folder / CHECKPOINT, description)
    held = data.calibration
    calibrated = (lambda model: calibrate(model, study, store, job, held)) if held else None
    return Fit(folder, description, trainer, data.scale, calibrated, data.alignment)


def train(
    study: Study,
    store: FeatureStore,
    job: Job,
    runs: Path | str,
    device: torch.device | str = "cpu",
    checkpoint_every: float = 20.0,
    after_epoch: Callable[[BaseTrainer], None] | None = None,
    load: Callable[[Study, Job], TrainingData] = TrainingData.load,
    log: TrainingLog = NO_LOG,
) -> Path:
    """Train one model, or continue it, or find that it is there already.

    Parameters
    ----------
    study : Study
    store : FeatureStore
        Must hold the levels of the job's ladder for all images of the study.
    job : Job
    runs : path
        Folder of all runs; the model goes to ``runs / job.folder``.
    device : torch.device or str
    checkpoint_every : float
        Seconds between checkpoints; 0 writes one after every epoch.
    after_epoch : callable, optional
        Called with the trainer after each epoch, for progress.
    load : callable
        Gives the training data of a job; one that keeps them saves time when jobs share them.
    log : TrainingLog
        Told of every epoch; by default no one is.

    Returns
    -------
    Path
        The model's folder.

    Raises
    ------
    InputError
        When the folder holds a model or checkpoint of another study or other options.
    """
    folder = Path(runs) / job.folder
    fit = begin(study, store, job, folder, device, load(study, job))
    if fit is None:
        return folder
    saved = time.monotonic()

    def finish_epoch(trainer: BaseTrainer) -> None:
        nonlocal saved
        log_epoch(trainer)  # first, so that no log is behind a checkpoint
        if not trainer.finished and time.monotonic() - saved >= checkpoint_every:
            fit.save()
            saved = time.monotonic()
        if after_epoch:
            after_epoch(trainer)

    logged = log.training(fit.description, job.folder, folder, fit.trainer)
    with disk_errors(folder), logged as log_epoch:
        fit.trainer.run(finish_epoch)
        return fit.finish()


def check_shape(study: Study, job: Job) -> None:
    """Refuse a job that its study cannot serve, before anything is computed.

    Raises
    ------
    InputError
        When the brain encoder is unknown or needs other channels or a longer window, an augmentation or alignment needs
        more samples, an option needs images that were shown more than once, subjects that are to be trained together
        differ in channels or samples, or a concept has no text features.
    """
    recording, channels = study.recording(job.subject), job.channels
    if job.setting == "inter-subject":
        channels = shared_channels(study, channels, job.window)
    plan = recording.select("train", channels=channels, window=job.window)
    check_augmentations(job.options.augment, plan.shape[2], study.info.sfreq)
    check_alignment(job.options.alignment, plan.shape[2])
    check_shown(study, job)
    if job.text:
        tables = job.training_tables(study).values()
        TextFeatures.read(job.text).select(c for t in tables for c in t.loc[t["split"] == "train", "concept"].unique())
    if job.options.kind == BRAVL:
        return
    with seeded("check"):
        make_encoder(replace(job.options, adapter_dim=0, components=0), *plan.shape[1:], 2, sfreq=study.info.sfreq)


def calibrate(model: Model, study: Study, store: FeatureStore, job: Job, held: HeldOut) -> Calibration:
    """What the confidence of a trained model is judged by: its answers to the trials held out for that."""
    level = job.preset.base
    signals = held_trials(study, held, model.description.channels, job.window)
    reference = model.embed_images(store.vectors(level, held.reference_images))
    seen = model.embed_images(store.vectors(level, [image for _, image in held.calibration]))
    return calibration_of(model, held, signals, reference, seen)


def describe(
    study: Study, store: FeatureStore, job: Job, trials: Trials, pairs: Pairs, text: TextFeatures | None = None
) -> Description:
    """Everything that says what a model is and what it was trained on."""
    return Description(
        preset=job.preset,
        options=job.options,
        seed=job.seed,
        vision_encoder=job.vision_encoder,
        vision_fingerprint=store.encoder_fingerprint,
        store_key=store.key,
        study=study.info.name,
        study_path=str(study.root.resolve()),
        study_fingerprint=study.fingerprint(sorted({job.subject, *trials.subjects})),
        setting=job.setting,
        subject=job.subject,
        trained_on=tuple(sorted(set(trials.subjects))),
        n_pairs=len(pairs),
        n_images=pairs.ladder.shape[1],
        channels=trials.channels,
        sfreq=trials.sfreq,
        tmin=trials.tmin,
        n_times=pairs.signals.shape[2],
        embed_dim=pairs.ladder.shape[-1],
        window=job.window,
        text=None if text is None else str(text.path.resolve()),
        text_fingerprint=None if text is None else text.fingerprint,
        text_dim=0 if text is None else text.features.shape[1],
    )


def _restore(trainer: BaseTrainer, checkpoint: Path, description: Description) -> None:
    if not checkpoint.exists():
        return
    tensors, content = read_tensors(checkpoint)
    if not isinstance(content, dict) or content.get("identity") != description.identity():
        raise InputError(
            f"{checkpoint} belongs to another study or to other options; choose another folder for the runs or "
            "remove it."
        )
    trainer.load_state_dict(tensors, content)
