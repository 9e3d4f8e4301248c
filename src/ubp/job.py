"""One model to train, declared."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ubp.config import BRAVL, SETTINGS, TrainOptions, unknown
from ubp.data.split import inter_subject, intra_subject
from ubp.data.study import Study, Trials
from ubp.description import Description
from ubp.errors import InputError
from ubp.presets import Preset


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
    text : Path, optional
        File of text features of the concepts, for models that learn from them, see :class:`ubp.text.TextFeatures`.
    """

    subject: str
    preset: Preset
    options: TrainOptions = field(default_factory=TrainOptions)
    seed: int = 0
    vision_encoder: str = "gabor"
    setting: str = "intra-subject"
    channels: tuple[str, ...] | None = None
    window: tuple[float, float] | None = None
    text: Path | None = None

    def __post_init__(self) -> None:
        if self.setting not in SETTINGS:
            raise unknown("setting", self.setting, SETTINGS)
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; expected 0 or more.")
        if self.options.kind == BRAVL and self.preset.dynamic:
            raise InputError(
                f"bravl learns from images at one level and the preset {self.preset.name!r} has "
                f"{len(self.preset.ladder)}; choose a preset with one, such as vanilla or blur."
            )
        if self.options.kind == BRAVL and self.preset.n_vectors > 1:
            raise InputError(
                f"bravl learns from one vector of an image and the preset {self.preset.name!r} has "
                f"{self.preset.n_vectors}; choose another preset, such as vanilla or blur."
            )
        if self.options.mixture != "mean" and self.preset.n_vectors == 1:
            raise InputError(
                f"mixture is {self.options.mixture!r} and the preset {self.preset.name!r} has no bank of blurs to mix; "
                "give --preset bank as well."
            )
        if self.text is not None and self.options.kind != BRAVL:
            raise InputError(
                f"{self.preset.name!r} does not learn from text; leave --text out, or train the method bravl."
            )

    @property
    def folder(self) -> Path:
        """Where the model lies below the folder of all runs."""
        shuffled = "-shuffled" if self.options.shuffle_pairs else ""
        return Path(self.setting, self.subject, f"{self.preset.name}{shuffled}", f"seed-{self.seed}")

    def training_tables(self, study: Study) -> dict[str, pd.DataFrame]:
        """Tables of all trials of the subjects that it is trained on: this one, or all others."""
        inside = self.setting == "intra-subject"
        return {
            subject: recording.trials
            for subject, recording in study.recordings.items()
            if (subject == self.subject) == inside
        }

    def trials(self, study: Study, split: str, **options: object) -> Trials:
        """Trials of this job: its training trials or its test trials.

        Parameters
        ----------
        study : Study
        split : {"train", "test"}
        **options
            Passed on to :meth:`ubp.data.recording.Recording.load`. Training trials of an image are averaged if the
            options of training say so.
        """
        if split == "train":
            options.setdefault("average", self.options.averages_once)
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
            None if about.text is None else Path(about.text),
        )
