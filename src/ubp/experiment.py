"""From a study and a choice of settings to a trained model in a folder; unfinished runs continue."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ubp.brain import brain_encoder
from ubp.config import SETTINGS, Preset, TrainOptions, unknown
from ubp.data.split import inter_subject, intra_subject, shared_channels, validation_split
from ubp.data.study import Study, Trials
from ubp.errors import InputError
from ubp.files import disk_errors
from ubp.fit import Gallery, Pairs, Trainer, channel_scale
from ubp.images.features import FeatureStore
from ubp.model import DESCRIPTION, Description, Model, read_tensors, write_tensors
from ubp.randomness import derive_seed, seeded

CHECKPOINT = "checkpoint.safetensors"
VALIDATION_SEED = 0


@dataclass(frozen=True)
class Job:
    """One model to train: which trials, which blur, which options.

    Parameters
    ----------
    subject : str
        Subject whose test split will be decoded.
    preset : Preset
    options : TrainOptions
    seed : int
    vision_encoder : str
        Specification of the image encoder, see :func:`ubp.images.encoders.image_encoder`.
    setting : {"intra-subject", "inter-subject"}
        Train on that subject, or on all others.
    channels : tuple of str, optional
        All by default.
    window : (float, float), optional
        Seconds; the whole recording by default.
    """

    subject: str
    preset: Preset
    options: TrainOptions = field(default_factory=TrainOptions)
    seed: int = 0
    vision_encoder: str = "gabor"
    setting: str = "intra-subject"
    channels: tuple[str, ...] | None = None
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.setting not in SETTINGS:
            raise unknown("setting", self.setting, SETTINGS)
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; expected 0 or more.")

    @property
    def folder(self) -> Path:
        """Where the model lies below the folder of all runs."""
        shuffled = "-shuffled" if self.options.shuffle_pairs else ""
        return Path(self.setting, self.subject, f"{self.preset.name}{shuffled}", f"seed-{self.seed}")

    def trials(self, study: Study, split: str, **options: object) -> Trials:
        """Trials of this job: its training trials or its test trials.

        Parameters
        ----------
        study : Study
        split : {"train", "test"}
        **options
            Passed on to :meth:`ubp.data.study.Recording.load`.
        """
        select = intra_subject if self.setting == "intra-subject" else inter_subject
        return select(study, self.subject, split, channels=self.channels, window=self.window, **options)

    @classmethod
    def of(cls, about: Description) -> "Job":
        """The job that a model was trained by."""
        return cls(
            about.subject,
            about.preset,
            about.options,
            about.seed,
            about.vision_encoder,
            about.setting,
            about.channels,
            about.window,
        )


def train(
    study: Study,
    store: FeatureStore,
    job: Job,
    runs: Path | str,
    device: torch.device | str = "cpu",
    checkpoint_every: float = 20.0,
    after_epoch: Callable[[Trainer], None] | None = None,
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
    training, validation = job.trials(study, "train"), None
    if job.options.validation_concepts:
        training, validation = validation_split(training, job.options.validation_concepts, seed=VALIDATION_SEED)
    pairs, scale = training_pairs(training, store, job)
    description = describe(study, store, job, training, pairs)
    if (folder / DESCRIPTION).exists():
        if Model.load(folder).description.identity() != description.identity():
            raise InputError(
                f"{folder} holds a model of another study or of other options; choose another folder for the runs "
                "or remove it."
            )
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return folder
    gallery = validation_gallery(validation, store, job, scale, training) if validation else None
    trainer = Trainer(pairs, job.preset, job.options, job.seed, gallery, device)
    del pairs
    _restore(trainer, folder / CHECKPOINT, description)
    saved = time.monotonic()

    def finish_epoch(trainer: Trainer) -> None:
        nonlocal saved
        if not trainer.finished and time.monotonic() - saved >= checkpoint_every:
            tensors, content = trainer.state_dict()
            write_tensors(folder / CHECKPOINT, tensors, {"identity": description.identity(), **content})
            saved = time.monotonic()
        if after_epoch:
            after_epoch(trainer)

    with disk_errors(folder):
        trainer.run(finish_epoch)
        prior = trainer.prior.state_dict() if trainer.prior else {}
        model = Model(description, trainer.encoder, scale, prior, trainer.temperature, trainer.history)
        model.save(folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


def check_shape(study: Study, job: Job) -> None:
    """Refuse a job that its study cannot serve, before anything is computed.

    Raises
    ------
    InputError
        When the brain encoder is unknown or needs other channels or a longer window, or subjects that are to be trained
        together differ in channels or samples.
    """
    recording, channels = study.recording(job.subject), job.channels
    if job.setting == "inter-subject":
        channels = shared_channels(study, channels, job.window)
    plan = recording.select("train", channels=channels, window=job.window)
    with seeded("check"):
        brain_encoder(job.options.brain_encoder, *plan.shape[1:], embed_dim=2, sfreq=study.info.sfreq)


def training_pairs(trials: Trials, store: FeatureStore, job: Job) -> tuple[Pairs, tuple[torch.Tensor, torch.Tensor]]:
    """Signals scaled in place (the trials' own array), the image row of each, and the ladder of those images.

    Returns
    -------
    pairs : Pairs
    scale : (Tensor, Tensor)
        Mean and deviation per channel; 0 and 1 when the options ask for no scaling.
    """
    signals = torch.from_numpy(trials.signals)
    if job.options.standardise:
        scale = channel_scale(signals)
        signals.sub_(scale[0]).div_(scale[1])
    else:
        n_channels = signals.shape[1]
        scale = torch.zeros(n_channels, 1), torch.ones(n_channels, 1)
    images, rows = np.unique(np.array(trials.images), return_inverse=True)
    if job.options.shuffle_pairs:
        rows = np.random.default_rng(derive_seed("shuffle", job.seed)).permutation(rows)
    ladder = store.ladder(job.preset.ladder, [str(image) for image in images])
    subject = subject_numbers(trials, trials)
    return Pairs(signals, torch.from_numpy(rows.astype(np.int64)), ladder, subject, trials.sfreq), scale


def subject_numbers(trials: Trials, training: Trials) -> torch.Tensor:
    """Place of each trial's subject among the sorted training subjects, as in `Description.trained_on`."""
    number = {subject: place for place, subject in enumerate(sorted(set(training.subjects)))}
    for subject in trials.subjects:
        if subject not in number:
            raise InputError(
                f"All concepts that {subject} saw were taken out for validation; choose fewer validation concepts."
            )
    return torch.tensor([number[subject] for subject in trials.subjects])


def validation_gallery(
    trials: Trials,
    store: FeatureStore,
    job: Job,
    scale: tuple[torch.Tensor, torch.Tensor],
    training: Trials,
) -> Gallery:
    """Validation trials as queries among their own images."""
    images, target = np.unique(np.array(trials.images), return_inverse=True)
    vision = store.vectors(job.preset.base, [str(image) for image in images])
    signals = (torch.from_numpy(trials.signals) - scale[0]) / scale[1]
    return Gallery(signals, target, vision, subject_numbers(trials, training))


def describe(study: Study, store: FeatureStore, job: Job, trials: Trials, pairs: Pairs) -> Description:
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
        n_pairs=len(pairs.signals),
        n_images=pairs.ladder.shape[1],
        channels=trials.channels,
        sfreq=trials.sfreq,
        tmin=trials.tmin,
        n_times=pairs.signals.shape[2],
        embed_dim=pairs.ladder.shape[2],
        window=job.window,
    )


def _restore(trainer: Trainer, checkpoint: Path, description: Description) -> None:
    if not checkpoint.exists():
        return
    tensors, content = read_tensors(checkpoint)
    if not isinstance(content, dict) or content.get("identity") != description.identity():
        raise InputError(
            f"{checkpoint} belongs to another study or to other options; choose another folder for the runs or "
            "remove it."
        )
    trainer.load_state_dict(tensors, content)
